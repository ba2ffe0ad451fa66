#ifndef KLDIV_SERVER_SERVER_H_
#define KLDIV_SERVER_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/options.h"

namespace kldiv::server {

// A running server: its listeners, calls, queue and lanes.
//
// Its life: Start, AnnounceDrain, BeginDrain, Drained until it is true or time is up, Stop. Not thread-safe.
class Server {
 public:
  // Binds, warms up, and serves from when it returns. SIGPIPE is ignored from then on.
  //
  // An error is a sentence for the user that names the flag: a port that is taken, say.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);

  // Stops if need be.
  virtual ~Server() = default;

  // Where it listens, as given but with real ports.
  virtual const std::vector<std::string>& addresses() const = 0;
  virtual std::string metrics_address() const = 0;  // "off" when there is none
  virtual std::string backend() const = 0;          // "cpu", or "cuda" when a device serves

  // Health says NOT_SERVING; all else is as before.
  virtual void AnnounceDrain() = 0;
  // Listeners close (but for the one with health alone, which stays until Stop), new calls are answered
  // UNAVAILABLE "draining", streams end when what they accepted is answered.
  virtual void BeginDrain() = 0;
  // Has every accepted call ended, and has no new one come for a while?
  virtual bool Drained() const = 0;
  // Ends what is left. True: nothing was left, every accepted pair was answered. False: something was lost or
  // hangs; the process must then exit without destroying the server.
  virtual bool Stop() = 0;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_SERVER_H_
