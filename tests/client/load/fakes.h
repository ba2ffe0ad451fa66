#ifndef KLDIV_TESTS_CLIENT_LOAD_FAKES_H_
#define KLDIV_TESTS_CLIENT_LOAD_FAKES_H_

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "client/load/clock.h"
#include "client/load/target.h"
#include "client/load/workload.h"

namespace kldiv::load {

// A clock that stands still but for SleepUntil, which passes the time on the one thread there is: what is due
// meanwhile happens in its order.
class FakeClock : public Clock {
 public:
  Time Now() override { return now_; }

  void SleepUntil(Time time, std::stop_token) override {
    if (time <= now_) return;
    RunUntil(time);
    if (const auto late = oversleep_.begin(); late != oversleep_.end() && now_ >= late->first) {
      const Duration by = late->second;
      oversleep_.erase(late);
      RunUntil(now_ + by);
    }
  }

  void At(Time time, std::function<void()> event) { events_.emplace(time, std::move(event)); }
  // The first sleep that ends at `time` or after ends so much later: the machine has other things to do.
  void Oversleep(Time time, Duration by) { oversleep_.emplace(time, by); }

  // Passes the time until nothing is due any more.
  void RunUntilIdle() {
    while (!events_.empty()) RunUntil(events_.begin()->first);
  }

  void RunUntil(Time time) {
    while (!events_.empty() && events_.begin()->first <= time) {
      const auto first = events_.begin();
      const std::function<void()> event = std::move(first->second);
      now_ = std::max(now_, first->first);
      events_.erase(first);
      event();
    }
    now_ = std::max(now_, time);
  }

 private:
  Time now_{std::chrono::hours(1)};
  std::multimap<Time, std::function<void()>> events_;
  std::map<Time, Duration> oversleep_;
};

inline Evaluation AnyEvaluation() {
  Evaluation evaluation;
  evaluation.loss = 0;
  evaluation.element_count = 1;
  return evaluation;
}

// A server on a FakeClock: answers one call after the other, each in `service`, but for the time of its
// stall. The losses that it answers are all 0.
class FakeTarget : public Target {
 public:
  FakeTarget(FakeClock& clock, Duration service) : clock_(clock), service_(service), free_(clock.Now()) {}

  void Stall(Time from, Duration length) {
    stall_from_ = from;
    stall_to_ = from + length;
  }

  int connections() const override { return 1; }

  void Start(int, std::span<const Pair> pairs, Done done) override {
    Time answered = std::max(free_, clock_.Now()) + service_;
    if (answered > stall_from_ && answered < stall_to_) answered = stall_to_ + service_;
    free_ = answered;
    clock_.At(answered, [count = pairs.size(), done = std::move(done)] {
      const std::vector<absl::StatusOr<Evaluation>> answers(count, AnyEvaluation());
      done(absl::OkStatus(), answers);
    });
  }

  void Cancel() override {}

 private:
  FakeClock& clock_;
  const Duration service_;
  Time free_;
  Time stall_from_ = Time::max();
  Time stall_to_ = Time::max();
};

// Pairs of one element whose answers nobody compares.
inline std::unique_ptr<Workload> AnyWorkload() {
  auto workload = Workload::Create({.shapes = {{.shape = {1}, .weight = 1}}, .verify = false});
  EXPECT_TRUE(workload.ok()) << workload.status();
  return *std::move(workload);
}

}  // namespace kldiv::load

#endif  // KLDIV_TESTS_CLIENT_LOAD_FAKES_H_
