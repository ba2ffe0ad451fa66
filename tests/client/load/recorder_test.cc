#include "client/load/recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace kldiv::load {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::Pair;

const Time kBegin{std::chrono::hours(1)};

CallRecord Ok(Time due, Duration latency) {
  CallRecord call;
  call.due = due;
  call.ended = due + latency;
  call.pairs = 2;
  call.bytes = 100;
  return call;
}

void Record(Recorder& recorder, const CallRecord& call) {
  recorder.RecordStart(call.connection, call.due, call.due);
  recorder.RecordEnd(call);
}

TEST(Recorder, CountsEachCallAsRightWrongOrAnError) {
  Recorder recorder(kBegin, seconds(1), 1);
  Record(recorder, Ok(kBegin, milliseconds(2)));
  CallRecord wrong = Ok(kBegin, milliseconds(3));
  wrong.wrong = true;
  wrong.text = "first";
  Record(recorder, wrong);
  wrong.text = "second";
  Record(recorder, wrong);
  CallRecord shed = Ok(kBegin, milliseconds(1));
  shed.code = absl::StatusCode::kResourceExhausted;
  shed.text = "the queue is full";
  Record(recorder, shed);
  const Totals totals = recorder.totals();
  EXPECT_EQ(totals.calls, 4U);
  EXPECT_EQ(totals.ok, 1U);
  EXPECT_EQ(totals.wrong, 2U);
  EXPECT_EQ(totals.wrong_text, "first");
  EXPECT_THAT(totals.errors, ElementsAre(Pair(absl::StatusCode::kResourceExhausted, 1U)));
  EXPECT_THAT(totals.error_texts,
              ElementsAre(Pair(absl::StatusCode::kResourceExhausted, "the queue is full")));
  // A fast refusal is no latency.
  EXPECT_EQ(totals.latency.count(), 1U);
  EXPECT_EQ(totals.latency.min(), Duration(milliseconds(2)).count());
}

TEST(Recorder, CountsLatencyByWhenCallsWereDueAndRatesByWhenTheyWereAnswered) {
  Recorder recorder(kBegin, seconds(1), 1);
  recorder.SetEnd(kBegin + seconds(10));
  Record(recorder, Ok(kBegin - seconds(2), seconds(1)));  // all of it in the warm-up
  Record(recorder, Ok(kBegin - seconds(1), seconds(2)));  // answered in the measured time only
  Record(recorder, Ok(kBegin + seconds(1), seconds(1)));  // all of it in the measured time
  Record(recorder, Ok(kBegin + seconds(9), seconds(3)));  // due in the measured time only
  const Totals totals = recorder.totals();
  EXPECT_EQ(totals.due, 2U);
  EXPECT_EQ(totals.calls, 2U);
  EXPECT_EQ(totals.latency.max(), Duration(seconds(3)).count());
  EXPECT_EQ(totals.answered, 2U);
  EXPECT_EQ(totals.answered_pairs, 4U);
  EXPECT_EQ(totals.answered_bytes, 200);
  EXPECT_EQ(recorder.last_end(), kBegin + seconds(12));
}

TEST(Recorder, CountsAWrongAnswerOfTheWarmUpApart) {
  Recorder recorder(kBegin, seconds(1), 1);
  CallRecord wrong = Ok(kBegin - seconds(2), seconds(1));
  wrong.wrong = true;
  wrong.text = "not the right one";
  Record(recorder, wrong);
  const Totals totals = recorder.totals();
  EXPECT_EQ(totals.calls, 0U);
  EXPECT_EQ(totals.wrong, 0U);
  EXPECT_EQ(totals.wrong_before, 1U);
  EXPECT_EQ(totals.wrong_text, "not the right one");
}

TEST(Recorder, CountsAStartAsLateBeyondTheBound) {
  Recorder recorder(kBegin, seconds(1), 1);
  recorder.RecordStart(0, kBegin, kBegin + kLateStart);
  EXPECT_EQ(recorder.totals().late_starts, 0U);
  recorder.RecordStart(0, kBegin, kBegin + kLateStart + Duration(1));
  EXPECT_EQ(recorder.totals().late_starts, 1U);
}

TEST(Recorder, GivesOneWindowForEachSecondOfAllConnections) {
  Recorder recorder(kBegin, seconds(1), 4);
  for (int connection = 0; connection < 4; ++connection) {
    CallRecord call = Ok(kBegin - milliseconds(1), milliseconds(1));  // due in window -1, answered in 0
    call.connection = connection;
    Record(recorder, call);
    call.due = kBegin + milliseconds(500);
    call.ended = kBegin + milliseconds(2500);
    Record(recorder, call);
  }
  const std::vector<Window> windows = recorder.TakeWindows(3);
  ASSERT_EQ(windows.size(), 4U);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(windows[static_cast<size_t>(i)].index, i - 1);
  EXPECT_EQ(windows[0].offered, 4U);
  EXPECT_EQ(windows[0].ok, 0U);
  EXPECT_EQ(windows[1].offered, 4U);
  EXPECT_EQ(windows[1].ok, 4U);
  EXPECT_EQ(windows[2].ok, 0U);  // nothing came
  EXPECT_EQ(windows[3].ok, 4U);
  EXPECT_EQ(windows[3].latency.max(), Duration(seconds(2)).count());
  EXPECT_TRUE(recorder.TakeWindows(3).empty());
}

TEST(Recorder, PutsWhatComesTooLateForItsWindowIntoTheNext) {
  Recorder recorder(kBegin, seconds(1), 1);
  EXPECT_EQ(recorder.TakeWindows(5).size(), 0U);
  Record(recorder, Ok(kBegin + seconds(4), milliseconds(1)));
  const std::vector<Window> windows = recorder.TakeWindows(6);
  ASSERT_EQ(windows.size(), 1U);
  EXPECT_EQ(windows[0].index, 5);
  EXPECT_EQ(windows[0].ok, 1U);
}

TEST(Recorder, KnowsTheWindowOfATime) {
  const Recorder recorder(kBegin, seconds(1), 1);
  EXPECT_EQ(recorder.WindowAt(kBegin), 0);
  EXPECT_EQ(recorder.WindowAt(kBegin + seconds(1)), 1);
  EXPECT_EQ(recorder.WindowAt(kBegin - Duration(1)), -1);
  EXPECT_EQ(recorder.WindowAt(kBegin - seconds(1)), -1);
}

TEST(Recorder, LosesNothingBetweenThreads) {
  constexpr uint64_t kCallsEach = 20'000;
  Recorder recorder(kBegin, milliseconds(1), 3);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&recorder, thread] {
      for (uint64_t i = 0; i < kCallsEach; ++i) {
        CallRecord call = Ok(kBegin + std::chrono::microseconds(i), milliseconds(1));
        call.connection = thread % 3;
        Record(recorder, call);
      }
    });
  }
  uint64_t ok = 0;
  uint64_t offered = 0;
  const auto take = [&](int64_t index) {
    for (const Window& window : recorder.TakeWindows(index)) {
      ok += window.ok;
      offered += window.offered;
    }
  };
  for (int64_t index = 0; index < 20; ++index) take(index);
  for (std::thread& thread : threads) thread.join();
  take(1000);
  EXPECT_EQ(ok, 4 * kCallsEach);
  EXPECT_EQ(offered, 4 * kCallsEach);
  EXPECT_EQ(recorder.totals().ok, 4 * kCallsEach);
}

}  // namespace
}  // namespace kldiv::load
