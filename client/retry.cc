#include "client/retry.h"

#include <algorithm>
#include <random>

#include "client/include/kldiv/client.h"

namespace kldiv::internal {

bool IsRetryable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status) || absl::IsCancelled(status);
}

std::chrono::nanoseconds PauseBeforeRetry(const absl::Status& status, int failures) {
  if (const auto asked = RetryAfter(status); asked.has_value()) return *asked;
  thread_local std::minstd_rand random{std::random_device{}()};
  double seconds = kFirstPauseSeconds;
  for (int i = 1; i < failures; ++i) seconds = std::min(seconds * kPauseGrowth, kMaxPauseSeconds);
  seconds *= std::uniform_real_distribution<double>(0, 1)(random);
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
}

}  // namespace kldiv::internal
