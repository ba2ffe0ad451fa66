#include "server/net/open_connections.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace kldiv::server {
namespace {

constexpr std::chrono::milliseconds kLookInterval{10};
constexpr int kEvictionsPerLook = 16;

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
  if (looked_at_ == Clock::time_point::min() || now - looked_at_ >= kLookInterval) {
    looked_at_ = now;
    Look();
    if (!IsFull()) return Room::kFree;
  }
  return EvictFor(Peer(fd));
}

void OpenConnections::Add(int fd) {
  Forget(fd);  // One that was closed since the last look.
  std::string peer = Peer(fd);
  if (!peer.empty()) ++held_[peer];
  open_[fd] = {SocketCookie(fd), std::move(peer), std::nullopt};
}

int64_t OpenConnections::CountOpen() {
  ForgetClosed();
  return static_cast<int64_t>(open_.size());
}

void OpenConnections::ShutDownAll() {
  ForgetClosed();
  for (const auto& [fd, connection] : open_) shutdown(fd, SHUT_RDWR);
}

void OpenConnections::Look() {
  evictions_left_ = kEvictionsPerLook;
  ForgetClosed();
  for (auto& [fd, connection] : open_) {
    if (!connection.peer.empty()) connection.silence = Silence(fd);
  }
}

void OpenConnections::Forget(int fd) {
  const auto found = open_.find(fd);
  if (found == open_.end()) return;
  const auto held = held_.find(found->second.peer);
  if (held != held_.end() && --held->second == 0) held_.erase(held);
  open_.erase(found);
}

void OpenConnections::ForgetClosed() {
  std::vector<int> closed;
  for (const auto& [fd, connection] : open_) {
    if (SocketCookie(fd) != connection.cookie) closed.push_back(fd);
  }
  for (const int fd : closed) Forget(fd);
}

// Of the peers that have `held` connections.
OpenConnections::Entry* OpenConnections::LongestSilent(int held) {
  Entry* longest = nullptr;
  for (Entry& entry : open_) {
    const Connection& connection = entry.second;
    if (!connection.silence.has_value()) continue;
    if (longest != nullptr && *connection.silence <= *longest->second.silence) continue;
    if (held_[connection.peer] == held) longest = &entry;
  }
  return longest;
}

OpenConnections::Room OpenConnections::EvictFor(const std::string& newcomer) {
  int most = 0;
  for (const auto& [peer, held] : held_) most = std::max(most, held);
  const auto own = held_.find(newcomer);
  // Among equals nobody who is busy gives way, or clients that connect again would throw each other out
  // forever.
  const bool among_equals = most - 1 < (own == held_.end() ? 0 : own->second) + 1;
  while (Entry* const victim = evictions_left_ > 0 ? LongestSilent(most) : nullptr) {
    auto& [fd, connection] = *victim;
    if (SocketCookie(fd) != connection.cookie) {
      Forget(fd);
      return Room::kFree;
    }
    if (among_equals && *connection.silence < patience_) return Room::kNone;
    if (Silence(fd) < connection.silence) {
      connection.silence.reset();  // It has spoken since the look.
      continue;
    }
    shutdown(fd, SHUT_RDWR);
    Forget(fd);  // Its owner closes it soon.
    --evictions_left_;
    return Room::kEvicted;
  }
  return Room::kNone;
}

}  // namespace kldiv::server
