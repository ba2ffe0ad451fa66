#include "server/net/open_connections.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>

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

// The other side's address, without its port, as bytes; empty for a Unix socket.
std::string Peer(int fd) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) return {};
  const auto bytes = [](const auto& address) {
    return std::string(reinterpret_cast<const char*>(&address), sizeof address);
  };
  if (name.ss_family == AF_INET) return bytes(reinterpret_cast<const sockaddr_in&>(name).sin_addr);
  if (name.ss_family == AF_INET6) return bytes(reinterpret_cast<const sockaddr_in6&>(name).sin6_addr);
  return {};
}

// Since when the other side has sent nothing; nullopt when `fd` is no open TCP connection.
std::optional<std::chrono::milliseconds> Silence(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  return std::chrono::milliseconds(info.tcpi_last_data_recv);
}

}  // namespace

OpenConnections::Room OpenConnections::MakeRoom(int fd, Clock::time_point now) {
  if (!IsFull()) return Room::kFree;
  if (looked_at_ != Clock::time_point::min() && now - looked_at_ < kLookInterval) return Room::kNone;
  looked_at_ = now;
  ForgetClosed();
  if (!IsFull()) return Room::kFree;
  return EvictFor(Peer(fd)) ? Room::kEvicted : Room::kNone;
}

void OpenConnections::Add(int fd) { open_[fd] = {SocketCookie(fd), Peer(fd)}; }

int64_t OpenConnections::CountOpen() {
  ForgetClosed();
  return static_cast<int64_t>(open_.size());
}

void OpenConnections::ShutDownAll() {
  ForgetClosed();
  for (const auto& [fd, connection] : open_) shutdown(fd, SHUT_RDWR);
}

void OpenConnections::ForgetClosed() {
  std::erase_if(open_, [](const auto& entry) { return SocketCookie(entry.first) != entry.second.cookie; });
}

bool OpenConnections::EvictFor(const std::string& newcomer) {
  std::unordered_map<std::string, int> held;
  int most = 0;
  for (const auto& [fd, connection] : open_) {
    if (!connection.peer.empty()) most = std::max(most, ++held[connection.peer]);
  }
  int victim = -1;
  std::chrono::milliseconds longest{-1};
  for (const auto& [fd, connection] : open_) {
    if (connection.peer.empty() || held[connection.peer] != most) continue;
    const std::optional<std::chrono::milliseconds> silence = Silence(fd);
    if (!silence.has_value() || *silence <= longest) continue;
    victim = fd;
    longest = *silence;
  }
  // Among equals nobody who is busy gives way, or clients that connect again would throw each other out
  // forever.
  const bool among_equals = most - 1 < held[newcomer] + 1;
  if (victim < 0 || (among_equals && longest < patience_)) return false;
  shutdown(victim, SHUT_RDWR);
  open_.erase(victim);  // Its owner closes it soon.
  return true;
}

}  // namespace kldiv::server
