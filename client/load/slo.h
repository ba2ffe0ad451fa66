#ifndef KLDIV_CLIENT_LOAD_SLO_H_
#define KLDIV_CLIENT_LOAD_SLO_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/load/clock.h"
#include "client/load/histogram.h"

namespace kldiv::load {

// A bound for latency, "p99<5ms", or several, "p50<1ms,p99.9<20ms,max<1s". Of percentiles (p0 < p < p100),
// mean and max.
class Slo {
 public:
  // INVALID_ARGUMENT: what is wrong with the text.
  static absl::StatusOr<Slo> Parse(const std::string& text);

  const std::string& text() const { return text_; }

  // Is it met? Not by a distribution without any times.
  bool MetBy(const Histogram& latency) const;

 private:
  enum class Measure { kPercentile, kMean, kMax };
  struct Bound {
    Measure measure = Measure::kPercentile;
    double quantile = 0;
    Duration below{0};
  };

  static absl::StatusOr<Bound> ParseBound(const std::string& text);

  std::string text_;
  std::vector<Bound> bounds_;
};

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_SLO_H_
