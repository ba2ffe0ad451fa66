#ifndef KLDIV_CLIENT_RETRY_H_
#define KLDIV_CLIENT_RETRY_H_

#include <chrono>

#include "absl/status/status.h"

// When what failed is tried again. Evaluations have no side effects, so that repeating one is always safe.
namespace kldiv::internal {

// Of a call, the first one included; gRPC allows no more. Of a stream: sessions in a row without an answer.
inline constexpr int kMaxAttempts = 5;

// Without a pause that the server asks for: the first, what each is longer than the last by, the longest.
inline constexpr double kFirstPauseSeconds = 0.05;
inline constexpr double kPauseGrowth = 2;
inline constexpr double kMaxPauseSeconds = 1;

// Whether what ended with it may succeed at another attempt: the server is away, drains, sheds load, or was
// shut down during the call.
bool IsRetryable(const absl::Status& status);

// The pause before the attempt that follows `failures` (at least 1) in a row: what the server asked for, else
// exponential with jitter, as gRPC's own.
std::chrono::nanoseconds PauseBeforeRetry(const absl::Status& status, int failures);

}  // namespace kldiv::internal

#endif  // KLDIV_CLIENT_RETRY_H_
