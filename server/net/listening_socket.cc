#include "server/net/listening_socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"

namespace kldiv::server {
namespace {

constexpr int kSocketType = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
constexpr int kBacklog = 4096;
constexpr int kUserTimeoutMs = 20'000;
constexpr int kProbeAfterSeconds = 30;
constexpr int kProbeIntervalSeconds = 10;
constexpr int kDeferAcceptSeconds = 10;

// errno in words, behind the address.
absl::Status SystemError(const ListenAddress& address, int error) {
  const std::string message = absl::StrCat(address.ToString(), ": ", std::strerror(error));
  return error == EADDRINUSE ? absl::AlreadyExistsError(message) : absl::FailedPreconditionError(message);
}

// Options that only improve matters: a kernel without one of them still serves.
void SetOption(int fd, int level, int name, int value) {
  (void)setsockopt(fd, level, name, &value, sizeof value);
}

void SetTcpOptions(int fd, int family) {
  // A restart at once after a stop; a port that someone listens on is refused all the same. SO_REUSEPORT
  // stays off, or two servers would share a port unnoticed.
  SetOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  // Accepted sockets inherit these. gRPC sets them only on connections of its own listeners.
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs);
  // Where nothing is under way that could go unacknowledged, the kernel asks whether the client is there.
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, kProbeAfterSeconds);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, kProbeIntervalSeconds);
  // HTTP/2 clients speak first: one that says nothing costs no descriptor.
  SetOption(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, kDeferAcceptSeconds);
  if (family == AF_INET6) SetOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
}

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

absl::StatusOr<Addresses> Resolve(const ListenAddress& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &found);
  if (error != 0) return absl::NotFoundError(absl::StrCat(address.ToString(), ": ", gai_strerror(error)));
  return Addresses(found);
}

void SetPort(sockaddr* address, int port) {
  const auto network_order = htons(static_cast<uint16_t>(port));
  if (address->sa_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(address)->sin6_port = network_order;
  } else {
    reinterpret_cast<sockaddr_in*>(address)->sin_port = network_order;
  }
}

int PortOf(const sockaddr_storage& address) {
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

// A listening TCP socket and its real port, or errno.
struct Bound {
  FileDescriptor socket;
  int port = 0;
  int error = 0;
};

Bound BindTcp(const addrinfo& info) {
  Bound bound;
  bound.socket = FileDescriptor(socket(info.ai_family, kSocketType, 0));
  const int fd = bound.socket.get();
  if (bound.socket.valid()) SetTcpOptions(fd, info.ai_family);
  sockaddr_storage real{};
  socklen_t size = sizeof real;
  if (!bound.socket.valid() || bind(fd, info.ai_addr, info.ai_addrlen) != 0 || listen(fd, kBacklog) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&real), &size) != 0) {
    bound.error = errno;
    return bound;
  }
  bound.port = PortOf(real);
  return bound;
}

// The machine has no such address, such as ::1 where IPv6 is off: no obstacle when the name has others.
bool IsAbsent(int error) { return error == EAFNOSUPPORT || error == EADDRNOTAVAIL; }

const sockaddr* AsSockaddr(const sockaddr_un& name) { return reinterpret_cast<const sockaddr*>(&name); }

// Removes the socket that a dead server left behind; nothing else.
absl::Status ClearPath(const ListenAddress& address, const sockaddr_un& name) {
  struct stat existing {};
  if (lstat(name.sun_path, &existing) != 0) return absl::OkStatus();
  if (!S_ISSOCK(existing.st_mode)) {
    return absl::AlreadyExistsError(absl::StrCat(address.ToString(), ": a file that is no socket is there"));
  }
  const FileDescriptor probe(socket(AF_UNIX, kSocketType, 0));
  if (probe.valid() && connect(probe.get(), AsSockaddr(name), sizeof name) != 0 && errno == ECONNREFUSED) {
    unlink(name.sun_path);
    return absl::OkStatus();
  }
  return absl::AlreadyExistsError(absl::StrCat(address.ToString(), ": another program listens there"));
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (valid()) close(fd_);
}

absl::StatusOr<std::vector<ListeningSocket>> ListeningSocket::Open(const ListenAddress& address) {
  std::vector<ListeningSocket> sockets;
  if (!address.is_tcp()) {
    absl::StatusOr<ListeningSocket> socket = OpenUnix(address);
    if (!socket.ok()) return socket.status();
    sockets.push_back(*std::move(socket));
    return sockets;
  }
  const absl::StatusOr<Addresses> found = Resolve(address);
  if (!found.ok()) return found.status();
  ListenAddress real = address;
  int absent = 0;
  for (addrinfo* info = found->get(); info != nullptr; info = info->ai_next) {
    SetPort(info->ai_addr, real.port);
    Bound bound = BindTcp(*info);
    if (bound.error != 0 && !IsAbsent(bound.error)) return SystemError(address, bound.error);
    if (bound.error != 0) {
      absent = bound.error;
      continue;
    }
    real.port = bound.port;
    sockets.push_back(ListeningSocket(real, std::move(bound.socket), FileDescriptor()));
  }
  if (sockets.empty()) return SystemError(address, absent);
  return sockets;
}

absl::StatusOr<ListeningSocket> ListeningSocket::OpenUnix(const ListenAddress& address) {
  // Whoever holds the lock owns the path. The lock file is never removed: another server may be opening it.
  const std::string lock_path = address.path + ".lock";
  FileDescriptor lock(open(lock_path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock.valid()) {
    return absl::FailedPreconditionError(
        absl::StrCat(address.ToString(), ": ", lock_path, ": ", std::strerror(errno)));
  }
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return absl::AlreadyExistsError(absl::StrCat(address.ToString(), ": another server listens there"));
  }
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  address.path.copy(name.sun_path, sizeof name.sun_path - 1);
  const absl::Status cleared = ClearPath(address, name);
  if (!cleared.ok()) return cleared;
  FileDescriptor socket(::socket(AF_UNIX, kSocketType, 0));
  if (!socket.valid() || bind(socket.get(), AsSockaddr(name), sizeof name) != 0)
    return SystemError(address, errno);
  ListeningSocket bound(address, std::move(socket), std::move(lock));  // Removes the path from here on.
  // Nobody can connect before listen, so that there is no moment with a wider mode.
  if (chmod(address.path.c_str(), 0600) != 0 || listen(bound.fd(), kBacklog) != 0)
    return SystemError(address, errno);
  return bound;
}

ListeningSocket::~ListeningSocket() {
  if (!is_tcp() && socket_.valid()) unlink(address_.path.c_str());
}

}  // namespace kldiv::server
