#include "server/observability/log_rate_limit.h"

#include <utility>

namespace kldiv::server {

std::optional<int64_t> LogRateLimit::Pass(Clock::time_point now) {
  MutexLock lock(mu_);
  if (!began_ || now - *began_ >= period_) {
    began_ = now;
    passed_ = 0;
  }
  if (passed_ == lines_) {
    ++suppressed_;
    return std::nullopt;
  }
  ++passed_;
  return std::exchange(suppressed_, 0);
}

}  // namespace kldiv::server
