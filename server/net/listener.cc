#include "server/net/listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/mutex.h"
#include "server/net/listening_socket.h"
#include "server/net/open_connections.h"

namespace kldiv::server {
namespace {

constexpr int kBackOffMs = 50;      // after a failed accept; descriptors come back as connections end
constexpr int kAcceptsInARow = 64;  // then the other sockets get their turn
constexpr std::chrono::seconds kPatience{1};  // with connections that say nothing, before equals replace them
constexpr rlim_t kMaxDescriptors = 1 << 20;

class SocketListener final : public Listener {
 public:
  SocketListener(std::vector<ListeningSocket> sockets, std::vector<std::string> addresses,
                 FileDescriptor wake)
      : addresses_(std::move(addresses)), wake_(std::move(wake)), sockets_(std::move(sockets)) {}
  ~SocketListener() override { Close(); }

  const std::vector<std::string>& addresses() const override { return addresses_; }

  void Start(int max_connections, Handover handover) override {
    {
      MutexLock lock(mu_);
      open_.emplace(max_connections, kPatience);
    }
    thread_ = std::thread([this, handover = std::move(handover)] { AcceptUntilWoken(handover); });
  }

  void Close() override {
    if (thread_.joinable()) {
      eventfd_write(wake_.get(), 1);
      thread_.join();
    }
    sockets_.clear();
  }

  void EndConnections() override {
    MutexLock lock(mu_);
    if (open_.has_value()) open_->ShutDownAll();
  }

  Counters counters() const override {
    Counters counters{accepted_.load(), refused_.load(), evicted_.load(), accept_errors_.load()};
    MutexLock lock(mu_);
    if (open_.has_value()) counters.open = open_->CountOpen();
    return counters;
  }

 private:
  void AcceptUntilWoken(const Handover& handover) {
    std::vector<pollfd> polled = {{wake_.get(), POLLIN, 0}};
    for (const ListeningSocket& socket : sockets_) polled.push_back({socket.fd(), POLLIN, 0});
    bool back_off = false;
    for (;;) {
      // The sockets stay ready while accept fails: only the wake-up is waited for then.
      poll(polled.data(), back_off ? 1 : polled.size(), back_off ? kBackOffMs : -1);
      if (polled[0].revents != 0) return;
      back_off = false;
      for (const ListeningSocket& socket : sockets_) {
        if (!AcceptWaiting(socket, handover)) back_off = true;
      }
    }
  }

  // Accepts what waits. False: the system cannot open more now.
  bool AcceptWaiting(const ListeningSocket& socket, const Handover& handover) {
    for (int i = 0; i < kAcceptsInARow; ++i) {
      FileDescriptor fd(accept4(socket.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd.valid()) {
        if (errno == EAGAIN) return true;
        if (errno == ECONNABORTED || errno == EINTR) continue;
        accept_errors_.fetch_add(1);
        return false;
      }
      if (!FindPlace(fd.get())) continue;
      accepted_.fetch_add(1);
      handover(socket.fd(), fd.release(), socket.is_tcp());
    }
    return true;
  }

  // False: there is none for this connection.
  bool FindPlace(int fd) {
    MutexLock lock(mu_);
    const OpenConnections::Room room = open_->MakeRoom(fd, OpenConnections::Clock::now());
    if (room == OpenConnections::Room::kEvicted) evicted_.fetch_add(1);
    if (room == OpenConnections::Room::kNone) {
      refused_.fetch_add(1);
      return false;
    }
    open_->Add(fd);
    return true;
  }

  const std::vector<std::string> addresses_;
  const FileDescriptor wake_;
  std::vector<ListeningSocket> sockets_;  // read by the thread, changed when it is gone
  std::thread thread_;
  mutable Mutex mu_;
  mutable std::optional<OpenConnections> open_
      KLDIV_GUARDED_BY(mu_);  // counting forgets what has been closed

  std::atomic<int64_t> accepted_{0};
  std::atomic<int64_t> refused_{0};
  std::atomic<int64_t> evicted_{0};
  std::atomic<int64_t> accept_errors_{0};
};

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(std::span<const ListenAddress> addresses) {
  std::vector<ListeningSocket> sockets;
  std::vector<std::string> names;
  for (const ListenAddress& address : addresses) {
    absl::StatusOr<std::vector<ListeningSocket>> opened = ListeningSocket::Open(address);
    if (!opened.ok()) return opened.status();
    names.push_back(opened->front().address().ToString());
    for (ListeningSocket& socket : *opened) sockets.push_back(std::move(socket));
  }
  FileDescriptor wake(eventfd(0, EFD_CLOEXEC));
  if (!wake.valid()) return absl::FailedPreconditionError(absl::StrCat("eventfd: ", std::strerror(errno)));
  return std::make_unique<SocketListener>(std::move(sockets), std::move(names), std::move(wake));
}

int RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;  // what every system grants
  const rlim_t soft = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = soft;
  return static_cast<int>(std::min(limit.rlim_cur, kMaxDescriptors));
}

}  // namespace kldiv::server
