#ifndef KLDIV_CLIENT_LOAD_TARGET_H_
#define KLDIV_CLIENT_LOAD_TARGET_H_

#include <functional>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/include/kldiv/client.h"

namespace kldiv::load {

// What is under load: takes calls and answers them later. Thread-safe.
class Target {
 public:
  // The call's own status, and with OK one answer for each pair.
  using Done =
      std::function<void(const absl::Status& status, std::span<const absl::StatusOr<Evaluation>> answers)>;

  // Cancels what is under way; every `done` has been called when it returns.
  virtual ~Target() = default;

  // Connections, which Start numbers from 0.
  virtual int connections() const = 0;

  // Starts a call with one pair or more. Does not wait. `done` is called once, on another thread or before
  // Start returns. The pairs and their memory stay until then.
  virtual void Start(int connection, std::span<const Pair> pairs, Done done) = 0;

  // Has the calls under way end soon. Nothing is started after it.
  virtual void Cancel() = 0;
};

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_TARGET_H_
