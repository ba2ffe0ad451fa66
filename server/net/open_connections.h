#ifndef KLDIV_SERVER_NET_OPEN_CONNECTIONS_H_
#define KLDIV_SERVER_NET_OPEN_CONNECTIONS_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <unordered_map>

namespace kldiv::server {

// The connections handed out that are still open, although their new owner closes them without telling; and
// who gives way when there are too many.
//
// A peer is an address without its port. Unix sockets are counted and never evicted: their clients are
// programs of the same user, and the kernel does not tell when they spoke last.
//
// Used by one thread at a time.
class OpenConnections {
 public:
  using Clock = std::chrono::steady_clock;

  enum class Room {
    kFree,
    kEvicted,  // free now: another connection was ended
    kNone,
  };

  // At most `max` at a time, at least 1. A connection that has spoken within `patience` does not give way to
  // one more of a peer that has as many connections as its own peer.
  OpenConnections(int max, std::chrono::milliseconds patience) : max_(max), patience_(patience) {}

  // Whether the open socket `fd` fits. When all places are taken, the connection of the peer with the most
  // connections that has been silent for longest is ended to make room. All this looks at every connection,
  // but not oftener than every 10 ms: a flood of clients costs a part of a core, and room is found that much
  // later.
  Room MakeRoom(int fd, Clock::time_point now);

  // Counts the open socket `fd`.
  void Add(int fd);

  // How many are open now. Looks at every connection.
  int64_t CountOpen();

  // Ends those that are open, in both directions; their owner sees that and closes them.
  void ShutDownAll();

 private:
  struct Connection {
    uint64_t cookie = 0;
    std::string peer;  // empty: a Unix socket's
  };

  bool IsFull() const { return open_.size() >= static_cast<size_t>(max_); }
  void ForgetClosed();
  bool EvictFor(const std::string& newcomer);

  const int max_;
  const std::chrono::milliseconds patience_;
  std::unordered_map<int, Connection> open_;  // by descriptor
  Clock::time_point looked_at_ = Clock::time_point::min();
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_NET_OPEN_CONNECTIONS_H_
