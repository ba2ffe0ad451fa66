#ifndef KLDIV_CLIENT_LOAD_RUN_H_
#define KLDIV_CLIENT_LOAD_RUN_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "client/load/recorder.h"
#include "client/load/schedule.h"
#include "client/load/target.h"
#include "client/load/workload.h"

namespace kldiv::load {

// One run against a target: a closed loop when `concurrency` is set, else an open one at `rate`.
struct RunPlan {
  std::string label;
  std::optional<int> concurrency;
  double rate = 0;  // calls a second
  Arrivals arrivals = Arrivals::kPoisson;
  Duration warmup{0};                            // not measured
  Duration duration{0};                          // that is measured
  std::optional<uint64_t> count;                 // end after so many measured calls instead
  Duration patience = std::chrono::seconds(35);  // for calls that are under way at the end
  uint64_t seed = 1;                             // of the arrivals
  int pairs_per_call = 1;
  int threads = 1;  // that start the calls of an open loop
};

// A second of the run, for the timeline.
struct Second {
  int64_t t_s = 0;
  uint64_t offered = 0;
  uint64_t ok = 0;
  uint64_t errors = 0;  // wrong answers too
  int64_t p50_ns = 0;
  int64_t p99_ns = 0;
  int64_t max_ns = 0;
};

struct RunResult {
  RunPlan plan;
  Duration measured{0};
  Totals totals;
  std::vector<Second> timeline;
  std::vector<std::string> saturation;  // why the generator was the limit; empty: it was not

  double Rate(uint64_t count) const {
    return measured.count() == 0 ? 0 : static_cast<double>(count) / ToSeconds(measured);
  }
  double offered_rate() const { return Rate(totals.due); }
  double achieved_rate() const { return Rate(totals.answered); }
};

// What watches a run and may end it.
struct RunObserver {
  // A second has passed, before the measured time (a negative index) or in it; the last one can be shorter.
  // False: end the run.
  std::function<bool(const Window&)> on_window = [](const Window&) { return true; };
  // How often the user has asked for the end: once, no more calls are started; twice, those under way are
  // cancelled.
  std::function<int()> interrupts = [] { return 0; };
};

// Runs it to the end, with all calls that were started. After two interrupts or out of patience, `target` is
// cancelled and takes no more calls.
RunResult Run(const RunPlan& plan, const Workload& workload, Target& target, const RunObserver& observer);

// Why the generator, not the target, limited a run: calls that started late, its threads' use of the
// processors. Empty: it did not.
std::vector<std::string> SaturationOf(const Totals& totals, double busiest_thread, double process, int cpus,
                                      bool open_loop);

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_RUN_H_
