#ifndef KLDIV_SERVER_NET_OPEN_CONNECTIONS_H_
#define KLDIV_SERVER_NET_OPEN_CONNECTIONS_H_

#include <chrono>
#include <cstdint>
#include <optional>
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
  // connections that has been silent for longest is ended to make room. To find it, the system is asked about
  // every connection, but not oftener than every 10 ms: a flood of clients costs a part of a core, and who
  // has come since the last look does not give way before the next one.
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
    std::string peer;                                  // empty: a Unix socket's
    std::optional<std::chrono::milliseconds> silence;  // at the last look; nullopt: not a victim
  };
  using Entry = std::unordered_map<int, Connection>::value_type;

  bool IsFull() const { return open_.size() >= static_cast<size_t>(max_); }
  void Look();
  void Forget(int fd);
  void ForgetClosed();
  Entry* LongestSilent(int held);
  Room EvictFor(const std::string& newcomer);

  const int max_;
  const std::chrono::milliseconds patience_;
  std::unordered_map<int, Connection> open_;   // by descriptor
  std::unordered_map<std::string, int> held_;  // how many each peer has, Unix sockets apart
  Clock::time_point looked_at_ = Clock::time_point::min();
  int evictions_left_ = 0;  // before the next look
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_NET_OPEN_CONNECTIONS_H_
