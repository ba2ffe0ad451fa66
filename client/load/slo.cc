#include "client/load/slo.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"

namespace kldiv::load {

absl::StatusOr<Slo> Slo::Parse(const std::string& text) {
  Slo slo;
  slo.text_ = text;
  for (const absl::string_view word : absl::StrSplit(text, ',')) {
    absl::StatusOr<Bound> bound = ParseBound(std::string(word));
    if (!bound.ok()) return bound.status();
    slo.bounds_.push_back(*bound);
  }
  return slo;
}

absl::StatusOr<Slo::Bound> Slo::ParseBound(const std::string& text) {
  const std::vector<std::string> sides = absl::StrSplit(text, absl::MaxSplits('<', 1));
  const absl::Status refusal = absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is not a bound such as p99<5ms, p99.9<20ms, mean<1ms or max<1s"));
  if (sides.size() != 2) return refusal;
  Bound bound;
  absl::Duration below;
  if (!absl::ParseDuration(sides[1], &below) || below <= absl::ZeroDuration() || below > absl::Hours(9)) {
    return refusal;
  }
  bound.below = absl::ToChronoNanoseconds(below);
  double percent = 0;
  if (sides[0] == "mean") {
    bound.measure = Measure::kMean;
  } else if (sides[0] == "max") {
    bound.measure = Measure::kMax;
  } else if (sides[0].starts_with('p') && absl::SimpleAtod(sides[0].substr(1), &percent) && percent > 0 &&
             percent < 100) {
    bound.quantile = percent / 100;
  } else {
    return refusal;
  }
  return bound;
}

bool Slo::MetBy(const Histogram& latency) const {
  if (latency.count() == 0) return false;
  return std::all_of(bounds_.begin(), bounds_.end(), [&](const Bound& bound) {
    const auto below = static_cast<double>(bound.below.count());
    switch (bound.measure) {
      case Measure::kPercentile:
        return static_cast<double>(latency.Percentile(bound.quantile)) < below;
      case Measure::kMean:
        return latency.mean() < below;
      case Measure::kMax:
        return static_cast<double>(latency.max()) < below;
    }
    return false;
  });
}

}  // namespace kldiv::load
