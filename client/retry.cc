#include "client/retry.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_format.h"
#include "client/include/kldiv/client.h"

namespace kldiv::internal {
namespace {

constexpr double kFirstPauseSeconds = 0.05;
constexpr double kPauseGrowth = 2;
constexpr double kMaxPauseSeconds = 1;

}  // namespace

// The throttle is gRPC's retry budget: each failure costs a token, each answer gives a tenth back, and with
// half of them gone nothing is tried again, so that a server in trouble is not sent several times its load.
std::string RetryServiceConfig() {
  return absl::StrFormat(
      R"({
  "methodConfig": [{
    "name": [{"service": "kldiv.v1.KlDivergence", "method": "Evaluate"},
             {"service": "kldiv.v1.KlDivergence", "method": "EvaluateBatch"},
             {"service": "kldiv.v1.KlDivergence", "method": "GetServerInfo"}],
    "retryPolicy": {
      "maxAttempts": %d, "initialBackoff": "%gs", "maxBackoff": "%gs", "backoffMultiplier": %g,
      "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"]
    }
  }],
  "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1}
})",
      kMaxAttempts, kFirstPauseSeconds, kMaxPauseSeconds, kPauseGrowth);
}

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
