#ifndef KLDIV_TESTS_BENCH_CLIENT_RESULTS_H_
#define KLDIV_TESTS_BENCH_CLIENT_RESULTS_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace kldiv::bench {

using Clock = std::chrono::steady_clock;

// How long a run lasts: a warm-up, of which nothing is kept, then the measurement, for so long or for so many
// calls.
struct Schedule {
  Clock::duration warm_up{};
  Clock::duration length{};
  int64_t calls = 0;  // 0: as `length` says
  double rate = 0;    // calls a second of an open loop; 0: a closed loop
};

// Takes the end of each call, and knows when no more should start. Not thread-safe.
class Results {
 public:
  explicit Results(const Schedule& schedule);

  // A call that was due at `start` ended with OK. Answers of the warm-up only count in calls_in_all.
  void Answered(Clock::time_point start, Clock::time_point now);
  // It ended with another status; `pushback`: which says when to try again.
  void Refused(int code, bool pushback, Clock::time_point now);

  // Should no more calls start?
  bool Over(Clock::time_point now) const;

  // All that was measured, as one line of JSON.
  std::string Json();

 private:
  double Microseconds(double quantile);
  bool Measured(Clock::time_point now);

  const Schedule schedule_;
  Clock::time_point begin_;  // of the measurement
  Clock::time_point last_;   // the last call that counts
  bool began_ = false;
  int64_t cpu_at_begin_ns_ = 0;
  int64_t cpu_at_end_ns_ = 0;  // 0: not over yet
  int64_t calls_in_all_ = 0;
  std::vector<int64_t> latencies_ns_;
  std::map<int, int64_t> refused_;  // by status code
  int64_t with_pushback_ = 0;
};

}  // namespace kldiv::bench

#endif  // KLDIV_TESTS_BENCH_CLIENT_RESULTS_H_
