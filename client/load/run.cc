#include "client/load/run.h"

#include <algorithm>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/load/cpu_use.h"
#include "client/load/generator.h"
#include "client/load/open_loop.h"
#include "server/lanes/cpu_count.h"

namespace kldiv::load {
namespace {

constexpr Duration kWindow = std::chrono::seconds(1);
constexpr Duration kTick = std::chrono::milliseconds(5);

Second ToSecond(const Window& window) {
  return {.t_s = window.index,
          .offered = window.offered,
          .ok = window.ok,
          .errors = window.errors + window.wrong,
          .p50_ns = window.latency.Percentile(0.5),
          .p99_ns = window.latency.Percentile(0.99),
          .max_ns = window.latency.max()};
}

std::unique_ptr<Generator> MakeGenerator(const RunPlan& plan, Rig rig, Time start) {
  Limits limits;
  if (plan.count.has_value()) {
    limits.calls = *plan.count;
  } else {
    limits.end = rig.recorder.end();
  }
  if (plan.concurrency.has_value()) {
    return std::make_unique<ClosedLoop>(rig, limits, plan.pairs_per_call, *plan.concurrency);
  }
  return std::make_unique<OpenLoop>(rig, limits, plan.pairs_per_call, start,
                                    Schedule(plan.arrivals, plan.rate, plan.seed), plan.threads);
}

// A run under way, on the thread that watches over it.
class Running {
 public:
  Running(const RunPlan& plan, const Workload& workload, Target& target, const RunObserver& observer)
      : plan_(plan),
        target_(target),
        observer_(observer),
        start_(clock_.Now()),
        recorder_(start_ + plan.warmup, kWindow, target.connections()) {
    if (!plan.count.has_value()) recorder_.SetEnd(recorder_.begin() + plan.duration);
    generator_ = MakeGenerator(plan, {workload, target, recorder_, clock_}, start_);
  }

  RunResult Finish() {
    generator_->Start();
    while (!generator_->StartedAll() && !stopped_) Tick();
    Drain();
    RunResult result;
    result.plan = plan_;
    result.totals = recorder_.totals();
    if (recorder_.end() == Time::max()) recorder_.SetEnd(recorder_.last_end());
    result.measured = std::max(Duration(recorder_.end() - recorder_.begin()), Duration(0));
    TakeWindows(recorder_.WindowAt(recorder_.last_end()) + 1);
    result.timeline = std::move(timeline_);
    const CpuUse use = UseBetween(cpu_at_begin_, cpu_at_end_);
    result.saturation = SaturationOf(result.totals, use.busiest_thread, use.process, server::AvailableCpus(),
                                     !plan_.concurrency.has_value());
    return result;
  }

 private:
  // Waits a little and sees to what is due.
  void Tick() {
    clock_.SleepUntil(clock_.Now() + kTick, {});
    const Time now = clock_.Now();
    if (now >= recorder_.begin() && cpu_at_begin_.at == Time()) cpu_at_begin_ = ReadCpuTimes();
    generator_->Tend();
    TakeWindows(recorder_.WindowAt(now));
    if (observer_.interrupts() > 0) Stop(now);
  }

  void Stop(Time now) {
    if (stopped_) return;
    stopped_ = true;
    recorder_.SetEnd(std::clamp(now, recorder_.begin(), recorder_.end()));
  }

  void Drain() {
    cpu_at_end_ = ReadCpuTimes();
    generator_->Stop();
    const Time patience_end = clock_.Now() + plan_.patience;
    bool cancelled = false;
    while (!generator_->StartedAll() || generator_->under_way() > 0) {
      Tick();
      if (!cancelled && generator_->StartedAll() &&
          (observer_.interrupts() > 1 || clock_.Now() > patience_end)) {
        cancelled = true;
        target_.Cancel();
      }
    }
  }

  void TakeWindows(int64_t index) {
    for (const Window& window : recorder_.TakeWindows(index)) {
      if (window.index >= 0) timeline_.push_back(ToSecond(window));
      if (!observer_.on_window(window)) Stop(clock_.Now());
    }
  }

  const RunPlan plan_;
  Target& target_;
  const RunObserver& observer_;
  SteadyClock clock_;
  const Time start_;
  Recorder recorder_;
  std::unique_ptr<Generator> generator_;
  bool stopped_ = false;
  CpuTimes cpu_at_begin_;
  CpuTimes cpu_at_end_;
  std::vector<Second> timeline_;
};

}  // namespace

RunResult Run(const RunPlan& plan, const Workload& workload, Target& target, const RunObserver& observer) {
  return Running(plan, workload, target, observer).Finish();
}

std::vector<std::string> SaturationOf(const Totals& totals, double busiest_thread, double process, int cpus,
                                      bool open_loop) {
  constexpr double kLateShare = 0.01;
  constexpr double kBusyThread = 0.9;
  constexpr double kBusyProcess = 0.9;  // of all processors
  std::vector<std::string> reasons;
  const double late =
      totals.due == 0 ? 0 : static_cast<double>(totals.late_starts) / static_cast<double>(totals.due);
  if (late > kLateShare) {
    reasons.push_back(absl::StrFormat("%.1f %% of the calls started more than %d ms late", 100 * late,
                                      kLateStart / std::chrono::milliseconds(1)));
  }
  if (busiest_thread > kBusyThread) {
    reasons.push_back(
        absl::StrFormat("one of its threads used %.0f %% of a processor: try more --connections%s",
                        100 * busiest_thread, open_loop ? " or --threads" : ""));
  }
  if (process > kBusyProcess * cpus) {
    reasons.push_back(absl::StrFormat("it used %.1f of the %d processors that it may", process, cpus));
  }
  return reasons;
}

}  // namespace kldiv::load
