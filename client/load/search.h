#ifndef KLDIV_CLIENT_LOAD_SEARCH_H_
#define KLDIV_CLIENT_LOAD_SEARCH_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "client/load/recorder.h"
#include "client/load/slo.h"

// The highest rate or concurrency at which a bound for latency holds.
namespace kldiv::load {

// A second of a step, as the rule judged it.
struct WindowVerdict {
  bool good = false;
  uint64_t offered = 0;
  uint64_t ok = 0;
  uint64_t failed = 0;
  int64_t p50_ns = 0;
  int64_t p99_ns = 0;
};

// Decides from one second after the other whether a load is borne: when kNeeded in a row are good, of kMost
// at most. A second is good when its answers meet the bound, no larger share of them than allowed has failed,
// and, in an open loop, no less than kMinAchieved of what was due in it was answered rightly (but for one
// call).
class StabilityRule {
 public:
  static constexpr int kNeeded = 3;
  static constexpr int kMost = 5;
  static constexpr double kMinAchieved = 0.98;

  enum class Verdict { kOpen, kHolds, kFails };

  StabilityRule(Slo slo, double max_error_rate, bool open_loop)
      : slo_(std::move(slo)), max_error_rate_(max_error_rate), open_loop_(open_loop) {}

  // The rule in words.
  std::string Text() const;

  // Judges the next second. Once the verdict is not kOpen, it stays.
  Verdict Judge(const Window& window);
  Verdict verdict() const { return verdict_; }
  const std::vector<WindowVerdict>& windows() const { return windows_; }

 private:
  const Slo slo_;
  const double max_error_rate_;
  const bool open_loop_;
  std::vector<WindowVerdict> windows_;
  int good_in_a_row_ = 0;
  Verdict verdict_ = Verdict::kOpen;
};

struct SearchLimits {
  double start = 1;
  double min = 1;
  double max = 1;
  bool whole = false;       // only whole numbers
  double precision = 0.05;  // how far apart, relatively, the best that held and the worst that failed may be
};

// The highest value for which `holds`, as far as the precision goes: doubles (or halves) from the start until
// it has one that holds and one that does not, then bisects. None when none holds. `holds` gives none to end
// the search where it is.
std::optional<double> HighestThatHolds(const SearchLimits& limits,
                                       const std::function<std::optional<bool>(double)>& holds);

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_SEARCH_H_
