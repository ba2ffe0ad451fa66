#ifndef KLDIV_SERVER_NET_LISTENER_H_
#define KLDIV_SERVER_NET_LISTENER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/net/listen_address.h"

namespace kldiv::server {

// The server's listening sockets, its own rather than gRPC's: a taken port is an error, "too many open files"
// is survived, connections are counted, and closing the door is a call of its own.
//
// Open, Start, Close and the destructor belong to one thread; counters() to any.
class Listener {
 public:
  // Takes over `fd`, a new connection: non-blocking, closed on exec. `listener_fd` is open until Close.
  // `is_tcp` tells which credentials it gets. Called on the accepting thread; must not block.
  using Handover = std::function<void(int listener_fd, int fd, bool is_tcp)>;

  struct Counters {
    int64_t accepted = 0;       // handed over
    int64_t refused = 0;        // closed at once: `max_connections` were open and none gave way
    int64_t evicted = 0;        // of those handed over: ended to make room
    int64_t accept_errors = 0;  // accept failed, for want of descriptors or memory
    int64_t open = 0;           // now
  };

  // Listens on all of `addresses`; connections wait in the kernel until Start. Statuses as
  // ListeningSocket::Open's.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(std::span<const ListenAddress> addresses);

  virtual ~Listener() = default;  // Closes.

  // As they were given, with the real ports.
  virtual const std::vector<std::string>& addresses() const = 0;

  // Accepts on a thread of its own until Close. Beyond `max_connections` (at least 1) open ones, a new
  // connection takes the place of the longest-silent one of the peer that has the most, or is closed at once:
  // the rules are OpenConnections'. Once.
  virtual void Start(int max_connections, Handover handover) = 0;

  // Stops accepting, closes the sockets and removes Unix paths; no handover happens after it has returned.
  // Connections that were handed over live on. May be called again.
  virtual void Close() = 0;

  // After Close: ends the connections that were handed over and are open still. What has been sent arrives.
  virtual void EndConnections() = 0;

  virtual Counters counters() const = 0;
};

// Raises the process's limit of open files to its hard limit and returns what it is then, at most 2^20.
int RaiseDescriptorLimit();

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_NET_LISTENER_H_
