#ifndef KLDIV_SERVER_NET_OPEN_CONNECTIONS_H_
#define KLDIV_SERVER_NET_OPEN_CONNECTIONS_H_

#include <chrono>
#include <cstdint>
#include <unordered_map>

namespace kldiv::server {

// How many of the connections handed out are still open, although their new owner closes them without
// telling.
//
// Used by one thread.
class OpenConnections {
 public:
  using Clock = std::chrono::steady_clock;

  // At most `max` at a time, at least 1.
  explicit OpenConnections(int max) : max_(max) {}

  // Whether one more fits. Looks at every connection when it seems full, but not oftener than every 10 ms: a
  // flood of clients costs a part of a core, and room is seen that much later.
  bool HasRoom(Clock::time_point now);

  // Counts the open socket `fd`.
  void Add(int fd);

  // Ends those that are open, in both directions; their owner sees that and closes them.
  void ShutDownAll();

 private:
  void ForgetClosed();

  const int max_;
  std::unordered_map<int, uint64_t> cookies_;  // by descriptor
  Clock::time_point looked_at_ = Clock::time_point::min();
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_NET_OPEN_CONNECTIONS_H_
