#include "tests/bench/client/results.h"

#include <sys/resource.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace kldiv::bench {
namespace {

int64_t CpuNanoseconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const int64_t seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec;
  return seconds * 1'000'000'000 + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

}  // namespace

Results::Results(const Schedule& schedule) : schedule_(schedule), begin_(Clock::now() + schedule.warm_up) {}

// The first call that ends after the warm-up starts the clock: what ended before it is not counted.
bool Results::Measured(Clock::time_point now) {
  if (now < begin_) return false;
  if (!began_) {
    began_ = true;
    begin_ = last_ = now;
    cpu_at_begin_ns_ = CpuNanoseconds();
    return false;
  }
  if (Over(now)) {
    if (cpu_at_end_ns_ == 0) cpu_at_end_ns_ = CpuNanoseconds();
    return false;
  }
  last_ = now;
  return true;
}

void Results::Answered(Clock::time_point start, Clock::time_point now) {
  ++calls_in_all_;
  if (Measured(now)) latencies_ns_.push_back(std::chrono::nanoseconds(now - start).count());
}

void Results::Refused(int code, bool pushback, Clock::time_point now) {
  ++calls_in_all_;
  if (!Measured(now)) return;
  ++refused_[code];
  with_pushback_ += pushback;
}

bool Results::Over(Clock::time_point now) const {
  if (!began_) return false;
  if (schedule_.calls > 0) return static_cast<int64_t>(latencies_ns_.size()) >= schedule_.calls;
  return now >= begin_ + schedule_.length;
}

double Results::Microseconds(double quantile) {
  if (latencies_ns_.empty()) return 0;
  const auto rank = static_cast<size_t>(quantile * static_cast<double>(latencies_ns_.size() - 1));
  const auto at = latencies_ns_.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(latencies_ns_.begin(), at, latencies_ns_.end());
  return static_cast<double>(*at) * 1e-3;
}

std::string Results::Json() {
  if (cpu_at_end_ns_ == 0) cpu_at_end_ns_ = CpuNanoseconds();
  const double seconds = std::chrono::duration<double>(last_ - begin_).count();
  const auto answered = static_cast<double>(latencies_ns_.size());
  nlohmann::json refused = nlohmann::json::object();
  for (const auto& [code, count] : refused_) refused[absl::StrCat(code)] = count;
  const nlohmann::json report = {
      {"answered", latencies_ns_.size()},
      {"seconds", seconds},
      {"calls_per_second", seconds > 0 ? answered / seconds : 0},
      {"p50_us", Microseconds(0.5)},
      {"p99_us", Microseconds(0.99)},
      {"client_cpu_us",
       static_cast<double>(cpu_at_end_ns_ - cpu_at_begin_ns_) * 1e-3 / std::max(1.0, answered)},
      {"refused", refused},
      {"refused_with_pushback", with_pushback_},
      {"calls_in_all", calls_in_all_},
  };
  return report.dump();
}

}  // namespace kldiv::bench
