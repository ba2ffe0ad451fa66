// Both loops, on a clock that the test moves, against a target that does as it is told; and on several
// threads.
#include "client/load/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "client/load/open_loop.h"
#include "tests/client/load/fakes.h"

namespace kldiv::load {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kService = microseconds(100);
constexpr Duration kRunTime = seconds(10);

void ExpectPercentile(const Histogram& histogram, double quantile, Duration expected) {
  const auto ns = static_cast<double>(expected.count());
  EXPECT_NEAR(static_cast<double>(histogram.Percentile(quantile)), ns, Histogram::kMaxRelativeError * ns);
}

// A measured run of ten seconds at 1000 calls a second, or of one call after the other.
class GeneratorTest : public ::testing::Test {
 protected:
  Limits TenSeconds() const { return {.end = begin_ + kRunTime, .calls = UINT64_MAX}; }

  Totals RunOpenLoop() {
    OpenLoop loop({*workload_, target_, recorder_, clock_}, TenSeconds(), 1, begin_,
                  Schedule(Arrivals::kConstant, 1000, 1), /*threads=*/1);
    loop.Issue();
    clock_.RunUntilIdle();
    EXPECT_EQ(loop.under_way(), 0);
    return recorder_.totals();
  }

  Totals RunClosedLoop(int concurrency) {
    ClosedLoop loop({*workload_, target_, recorder_, clock_}, TenSeconds(), 1, concurrency);
    loop.Start();
    clock_.RunUntilIdle();
    EXPECT_TRUE(loop.StartedAll());
    EXPECT_EQ(loop.under_way(), 0);
    return recorder_.totals();
  }

  FakeClock clock_;
  const Time begin_ = clock_.Now();
  FakeTarget target_{clock_, kService};
  const std::unique_ptr<Workload> workload_ = AnyWorkload();
  Recorder recorder_{begin_, seconds(1), 1};
};

TEST_F(GeneratorTest, OpenLoopStartsEveryCallWhenItIsDue) {
  const Totals totals = RunOpenLoop();
  EXPECT_EQ(totals.due, 10'000U);
  EXPECT_EQ(totals.calls, 10'000U);
  EXPECT_EQ(totals.ok, 10'000U);
  EXPECT_EQ(totals.late_starts, 0U);
  EXPECT_EQ(totals.start_delay.max(), 0);
  EXPECT_EQ(totals.latency.min(), kService.count());
  EXPECT_EQ(totals.latency.max(), kService.count());
}

TEST_F(GeneratorTest, OpenLoopShowsAStallOfTheServerInEveryCallThatItDelayed) {
  target_.Stall(begin_ + seconds(5), seconds(1));
  const Totals totals = RunOpenLoop();
  EXPECT_EQ(totals.calls, 10'000U);
  EXPECT_EQ(totals.late_starts, 0U);  // It was not the generator's fault.
  // The thousand calls of that second waited for its end, and a hundred more for those.
  EXPECT_GT(totals.latency.Percentile(0.999), Duration(milliseconds(980)).count());
  EXPECT_GT(totals.latency.Percentile(0.95), Duration(milliseconds(440)).count());
  ExpectPercentile(totals.latency, 0.88, kService);
}

TEST_F(GeneratorTest, ClosedLoopHidesTheSameStallInOneCall) {
  target_.Stall(begin_ + seconds(5), seconds(1));
  const Totals totals = RunClosedLoop(1);
  ExpectPercentile(totals.latency, 0.999, kService);
  EXPECT_GT(totals.latency.max(), Duration(milliseconds(999)).count());
}

TEST_F(GeneratorTest, OpenLoopShowsAStallOfItsOwnAsLateStartsAndAsLatency) {
  clock_.Oversleep(begin_ + seconds(5), milliseconds(300));
  const Totals totals = RunOpenLoop();
  EXPECT_EQ(totals.calls, 10'000U);
  // Those due in the 300 ms, but for the last millisecond.
  EXPECT_EQ(totals.late_starts, 299U);
  EXPECT_EQ(totals.start_delay.max(), Duration(milliseconds(300)).count());
  EXPECT_GT(totals.latency.Percentile(0.99), Duration(milliseconds(190)).count());
}

TEST_F(GeneratorTest, ClosedLoopKeepsItsCallsUnderWay) {
  const Totals totals = RunClosedLoop(8);
  ExpectPercentile(totals.latency, 0.5, 8 * kService);
  EXPECT_EQ(totals.calls, static_cast<uint64_t>(kRunTime / kService) + 7);  // Seven are under way at the end.
}

TEST_F(GeneratorTest, StopsAfterSoManyMeasuredCalls) {
  const Limits limits = {.end = Time::max(), .calls = 123};
  OpenLoop open({*workload_, target_, recorder_, clock_}, limits, 1, begin_,
                Schedule(Arrivals::kConstant, 1000, 1), 1);
  open.Issue();
  clock_.RunUntilIdle();
  EXPECT_EQ(recorder_.totals().calls, 123U);
  ClosedLoop closed({*workload_, target_, recorder_, clock_}, limits, 1, 10);
  closed.Start();
  clock_.RunUntilIdle();
  EXPECT_TRUE(closed.StartedAll());
  EXPECT_EQ(recorder_.totals().calls, 246U);
}

// Ends every call before Start returns.
class HastyTarget : public Target {
 public:
  explicit HastyTarget(absl::StatusCode code) : code_(code) {}
  int connections() const override { return 1; }
  void Start(int, std::span<const Pair>, Done done) override { done(absl::Status(code_, "at once"), {}); }
  void Cancel() override {}

 private:
  const absl::StatusCode code_;
};

TEST_F(GeneratorTest, ClosedLoopBearsCallsThatEndBeforeTheyHaveStarted) {
  HastyTarget target(absl::StatusCode::kInvalidArgument);
  ClosedLoop loop({*workload_, target, recorder_, clock_}, {.end = Time::max(), .calls = 1'000'000}, 1, 2);
  loop.Start();
  EXPECT_TRUE(loop.StartedAll());
  EXPECT_EQ(recorder_.totals().errors[absl::StatusCode::kInvalidArgument], 1'000'000U);
}

TEST_F(GeneratorTest, ClosedLoopPausesWhereTheServerCannotBeReached) {
  HastyTarget target(absl::StatusCode::kUnavailable);
  ClosedLoop loop({*workload_, target, recorder_, clock_}, {.end = begin_ + milliseconds(95)}, 1, 2);
  loop.Start();
  while (!loop.StartedAll()) {
    clock_.RunUntil(clock_.Now() + milliseconds(1));
    loop.Tend();
  }
  EXPECT_EQ(recorder_.totals().errors[absl::StatusCode::kUnavailable], 20U);  // 2 each 10 ms
}

TEST_F(GeneratorTest, StopEndsAPauseToo) {
  HastyTarget target(absl::StatusCode::kUnavailable);
  ClosedLoop loop({*workload_, target, recorder_, clock_}, TenSeconds(), 1, 2);
  loop.Start();
  EXPECT_FALSE(loop.StartedAll());
  loop.Stop();
  EXPECT_TRUE(loop.StartedAll());
}

// Answers from two threads of its own, when it is let.
class ThreadedTarget : public Target {
 public:
  ThreadedTarget() {
    for (std::thread& thread : threads_) thread = std::thread([this] { Answer(); });
  }
  ~ThreadedTarget() override {
    {
      const std::lock_guard lock(mu_);
      over_ = true;
      changed_.notify_all();
    }
    for (std::thread& thread : threads_) thread.join();
  }

  void Open() {
    const std::lock_guard lock(mu_);
    open_ = true;
    changed_.notify_all();
  }
  size_t WaitForCalls(size_t calls) {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [&] { return waiting_.size() >= calls; });
    return waiting_.size();
  }

  int connections() const override { return 2; }
  void Start(int, std::span<const Pair>, Done done) override {
    const std::lock_guard lock(mu_);
    waiting_.push_back(std::move(done));
    changed_.notify_all();
  }
  void Cancel() override {}

 private:
  void Answer() {
    std::unique_lock lock(mu_);
    while (true) {
      changed_.wait(lock, [this] { return over_ || (open_ && !waiting_.empty()); });
      if (waiting_.empty() || !open_) return;
      const Done done = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      const absl::StatusOr<Evaluation> answer = AnyEvaluation();
      done(absl::OkStatus(), std::span(&answer, 1));
      lock.lock();
    }
  }

  std::mutex mu_;
  std::condition_variable changed_;
  std::deque<Done> waiting_;
  bool open_ = false;
  bool over_ = false;
  std::thread threads_[2];
};

class ThreadedTest : public ::testing::Test {
 protected:
  void WaitForTheEndOf(Generator& generator) {
    while (!generator.StartedAll() || generator.under_way() > 0) {
      clock_.SleepUntil(clock_.Now() + milliseconds(1), {});
      generator.Tend();
    }
  }

  SteadyClock clock_;
  ThreadedTarget target_;
  const std::unique_ptr<Workload> workload_ = AnyWorkload();
  Recorder recorder_{clock_.Now(), seconds(1), 2};
};

TEST_F(ThreadedTest, OpenLoopHoldsCallsBackAtItsBoundAndSkipsNone) {
  constexpr uint64_t kCalls = 1000;
  OpenLoop loop({*workload_, target_, recorder_, clock_}, {.end = Time::max(), .calls = kCalls}, 1,
                clock_.Now(), Schedule(Arrivals::kConstant, 1e6, 1), /*threads=*/3, /*max_under_way=*/10);
  loop.Start();
  EXPECT_EQ(target_.WaitForCalls(10), 10U);
  clock_.SleepUntil(clock_.Now() + 2 * kLateStart, {});
  EXPECT_EQ(target_.WaitForCalls(10), 10U);
  target_.Open();
  WaitForTheEndOf(loop);
  const Totals totals = recorder_.totals();
  EXPECT_EQ(totals.calls, kCalls);
  EXPECT_EQ(totals.ok, kCalls);
  EXPECT_GE(totals.late_starts, kCalls - 10);  // They were due in the first millisecond.
}

TEST_F(ThreadedTest, ClosedLoopCountsEveryCallOnce) {
  target_.Open();
  ClosedLoop loop({*workload_, target_, recorder_, clock_}, {.end = Time::max(), .calls = 20'000}, 1, 16);
  loop.Start();
  WaitForTheEndOf(loop);
  EXPECT_EQ(recorder_.totals().due, 20'000U);
  EXPECT_EQ(recorder_.totals().ok, 20'000U);
}

TEST_F(ThreadedTest, OpenLoopEndsWhenItIsStopped) {
  target_.Open();
  OpenLoop loop({*workload_, target_, recorder_, clock_}, {}, 1, clock_.Now(),
                Schedule(Arrivals::kConstant, 0.001, 1), /*threads=*/2);
  loop.Start();
  loop.Stop();
  WaitForTheEndOf(loop);
  EXPECT_LE(recorder_.totals().calls, 1U);
}

}  // namespace
}  // namespace kldiv::load
