#include "client/load/search.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace kldiv::load {

std::string StabilityRule::Text() const {
  std::string text = absl::StrFormat(
      "a load holds when %d seconds in a row, of %d at most, each meet %s with at most %g %% of the calls "
      "failed",
      kNeeded, kMost, slo_.text(), 100 * max_error_rate_);
  if (open_loop_) {
    absl::StrAppend(&text,
                    absl::StrFormat(" and at least %g %% of the offered rate achieved", 100 * kMinAchieved));
  }
  return text;
}

StabilityRule::Verdict StabilityRule::Judge(const Window& window) {
  if (verdict_ != Verdict::kOpen) return verdict_;
  const uint64_t failed = window.errors + window.wrong;
  const auto ended = static_cast<double>(window.ok + failed);
  const bool few_failed = static_cast<double>(failed) <= max_error_rate_ * ended;
  const bool achieved =
      !open_loop_ || static_cast<double>(window.ok + 1) >= kMinAchieved * static_cast<double>(window.offered);
  const bool good = slo_.MetBy(window.latency) && few_failed && achieved;
  windows_.push_back({.good = good,
                      .offered = window.offered,
                      .ok = window.ok,
                      .failed = failed,
                      .p50_ns = window.latency.Percentile(0.5),
                      .p99_ns = window.latency.Percentile(0.99)});
  good_in_a_row_ = good ? good_in_a_row_ + 1 : 0;
  const int left = kMost - static_cast<int>(windows_.size());
  if (good_in_a_row_ == kNeeded) {
    verdict_ = Verdict::kHolds;
  } else if (good_in_a_row_ + left < kNeeded) {
    verdict_ = Verdict::kFails;
  }
  return verdict_;
}

std::optional<double> HighestThatHolds(const SearchLimits& limits,
                                       const std::function<std::optional<bool>(double)>& holds) {
  const auto usable = [&](double value) {
    return std::clamp(limits.whole ? std::floor(value) : value, limits.min, limits.max);
  };
  std::optional<double> good;
  std::optional<double> bad;
  double value = usable(limits.start);
  while (true) {
    const std::optional<bool> held = holds(value);
    if (!held.has_value()) return good;
    (*held ? good : bad) = value;
    if (!bad.has_value()) {
      if (value >= limits.max) return good;
      value = usable(2 * value);
    } else if (!good.has_value()) {
      if (value <= limits.min) return good;
      value = usable(value / 2);
    } else {
      const double next = usable((*good + *bad) / 2);
      if (*bad - *good <= limits.precision * *good || next <= *good || next >= *bad) return good;
      value = next;
    }
  }
}

}  // namespace kldiv::load
