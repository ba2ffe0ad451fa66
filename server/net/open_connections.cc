#include "server/net/open_connections.h"

#include <sys/socket.h>

namespace kldiv::server {
namespace {

constexpr std::chrono::milliseconds kLookInterval{10};

// A number that the kernel gives to one socket in its lifetime, so that a descriptor that was closed and used
// again is recognized; 0 when `fd` is no open socket.
uint64_t SocketCookie(int fd) {
  uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

}  // namespace

bool OpenConnections::HasRoom(Clock::time_point now) {
  const auto full = [this] { return cookies_.size() >= static_cast<size_t>(max_); };
  if (full() && (looked_at_ == Clock::time_point::min() || now - looked_at_ >= kLookInterval)) {
    looked_at_ = now;
    ForgetClosed();
  }
  return !full();
}

void OpenConnections::Add(int fd) { cookies_[fd] = SocketCookie(fd); }

void OpenConnections::ShutDownAll() {
  ForgetClosed();
  for (const auto& [fd, cookie] : cookies_) shutdown(fd, SHUT_RDWR);
}

void OpenConnections::ForgetClosed() {
  std::erase_if(cookies_, [](const auto& entry) { return SocketCookie(entry.first) != entry.second; });
}

}  // namespace kldiv::server
