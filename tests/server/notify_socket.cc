#include "tests/server/notify_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace kldiv::server {

NotifySocket::NotifySocket(Kind kind) : socket_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
  if (kind == Kind::kPath) {
    char folder[] = "/tmp/notify-XXXXXX";
    if (mkdtemp(folder) == nullptr) std::abort();
    folder_ = folder;
    name_ = absl::StrCat(folder_, "/socket");
  } else {
    name_ = absl::StrCat("@kldiv-notify-", getpid(), "-", socket_.get());
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name_.data(), name_.size());
  if (kind == Kind::kAbstract) address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size());
  if (bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) std::abort();
}

NotifySocket::~NotifySocket() {
  if (folder_.empty()) return;
  unlink(name_.c_str());
  rmdir(folder_.c_str());
}

std::string NotifySocket::Receive() const {
  std::string message(4096, '\0');
  const ssize_t size = recv(socket_.get(), message.data(), message.size(), 0);
  if (size < 0) std::abort();
  message.resize(static_cast<size_t>(size));
  return message;
}

bool NotifySocket::HasMessage() const {
  pollfd polled{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  return poll(&polled, 1, /*timeout=*/0) == 1;
}

}  // namespace kldiv::server
