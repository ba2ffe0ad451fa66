#ifndef KLDIV_SERVER_RPC_STATUS_TEXTS_H_
#define KLDIV_SERVER_RPC_STATUS_TEXTS_H_

#include <chrono>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

// The service's own statuses: what a client may be told that is not a fault of its pair. Thread-safe.
namespace kldiv::server {

absl::Status UnknownMethod(std::string_view path);                     // UNIMPLEMENTED
absl::Status NoValidToken();                                           // UNAUTHENTICATED
absl::Status Draining();                                               // UNAVAILABLE
absl::Status ShuttingDown();                                           // UNAVAILABLE
absl::Status IdleStream(std::chrono::milliseconds read_timeout);       // UNAVAILABLE
absl::Status ReadTimedOut(std::chrono::milliseconds read_timeout);     // DEADLINE_EXCEEDED
absl::Status TooManyWaiting(int64_t held_bytes, int64_t limit_bytes);  // RESOURCE_EXHAUSTED
absl::Status TooManyHealthCalls();                                     // RESOURCE_EXHAUSTED
absl::Status NoMessage();                                              // INVALID_ARGUMENT
absl::Status ExpiredBeforeComputing();                                 // DEADLINE_EXCEEDED
absl::Status CancelledBeforeComputing();                               // CANCELLED
absl::Status UnknownHealthService(std::string_view name);              // NOT_FOUND

// No room now: RESOURCE_EXHAUSTED.
absl::Status QueueFull(int64_t held_bytes, int64_t limit_bytes, int64_t wanted_bytes);
// No room ever: INVALID_ARGUMENT.
absl::Status LargerThanQueue(int64_t wanted_bytes, int64_t limit_bytes);

// When a client that was shed should try again: 50 to 150 ms, spread so that clients do not return together.
std::chrono::milliseconds RetryAfter();

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_STATUS_TEXTS_H_
