#ifndef KLDIV_SERVER_OBSERVABILITY_LOG_RATE_LIMIT_H_
#define KLDIV_SERVER_OBSERVABILITY_LOG_RATE_LIMIT_H_

#include <chrono>
#include <cstdint>
#include <optional>

#include "server/base/mutex.h"

namespace kldiv::server {

// Lets `lines` lines pass in each period, which begins with the first line after the previous one's end.
//
// Thread-safe.
class LogRateLimit {
 public:
  using Clock = std::chrono::steady_clock;

  LogRateLimit(int lines, Clock::duration period) : lines_(lines), period_(period) {}

  // The line may pass: how many were suppressed since the last one that did. nullopt: it is suppressed.
  std::optional<int64_t> Pass(Clock::time_point now);

 private:
  const int lines_;
  const Clock::duration period_;

  Mutex mu_;
  std::optional<Clock::time_point> began_ KLDIV_GUARDED_BY(mu_);
  int passed_ KLDIV_GUARDED_BY(mu_) = 0;
  int64_t suppressed_ KLDIV_GUARDED_BY(mu_) = 0;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_OBSERVABILITY_LOG_RATE_LIMIT_H_
