// CPU and CUDA lanes pull from one queue; devices fail. Nobody can see which lane answered.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "server/batching/batcher.h"
#include "server/batching/lane_runner.h"
#include "server/numerics/formula.h"
#include "tests/testing/collecting_task.h"
#include "tests/testing/patience.h"
#include "tests/testing/random_pair.h"
#include "tests/testing/steerable_lane.h"

namespace kldiv::server {
namespace {

using testing::DoneTasks;
using testing::LaneControl;
using testing::RandomPair;

constexpr int64_t kMaxBatchBytes = int64_t{4} << 20;
constexpr int64_t kLeast = 65536;  // elements
constexpr int64_t kSmall = 1000;
constexpr int64_t kLarge = 512 << 10;  // a batch in FP32

const absl::Status& Fault() {
  static const absl::Status& fault = *new absl::Status(absl::StatusCode::kUnavailable,
                                                       "cuda:0: cudaLaunchKernelEx: cudaErrorIllegalAddress");
  return fault;
}

class DeviceBatcher : public ::testing::Test {
 protected:
  ~DeviceBatcher() override { Stop(); }

  void StartCpu(int lanes) {
    cpu_runner_.emplace(batcher_, LaneKind::kCpu, cpu_.MakeLanes(lanes), kMaxBatchBytes);
  }
  void StartCuda(int lanes) {
    cuda_runner_.emplace(batcher_,
                         LaneRunner::Options{.kind = LaneKind::kCuda,
                                             .max_batch_bytes = kMaxBatchBytes,
                                             .min_elements = kLeast,
                                             .on_no_lane_left = [this] { ++no_lane_left_; }},
                         cuda_.MakeLanes(lanes));
  }

  void Stop() {
    cpu_.Release();
    cuda_.Release();
    batcher_.Close();
    cpu_runner_.reset();
    cuda_runner_.reset();
  }

  const RandomPair& MakePair(int64_t elements) {
    pairs_.push_back(std::make_unique<RandomPair>(RandomPair::Shape{.elements = elements}, random_));
    return *pairs_.back();
  }
  void Enqueue(const RandomPair& pair, const std::string& flow = "flow") {
    batcher_.Enqueue(done_.Make({&pair.pair()}, flow));
  }
  void Enqueue(int64_t elements, const std::string& flow = "flow") { Enqueue(MakePair(elements), flow); }

  template <class Condition>
  static bool WaitUntil(Condition condition) {
    const auto end = testing::PatienceEnd();
    while (!condition()) {
      if (Clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  bool WaitUntilIdle(int lanes) {
    return WaitUntil([&] { return batcher_.counters().idle_lanes == lanes; });
  }

  void ExpectBalance() {
    const Batcher::Counters counters = batcher_.counters();
    EXPECT_EQ(counters.enqueued_pairs, counters.completed_pairs);
    EXPECT_EQ(counters.waiting_pairs, 0);
    EXPECT_EQ(counters.waiting_bytes, 0);
  }

  std::mt19937_64 random_{1};
  std::vector<std::unique_ptr<RandomPair>> pairs_;
  DoneTasks done_;
  LaneControl cpu_;
  LaneControl cuda_;
  std::atomic<int> no_lane_left_ = 0;
  Batcher batcher_;
  std::optional<LaneRunner> cpu_runner_;
  std::optional<LaneRunner> cuda_runner_;
};

// ---- Scheduling.

TEST_F(DeviceBatcher, LetsSmallAndLargePairsFindTheirKindOfLane) {
  StartCpu(1);
  StartCuda(1);
  ASSERT_TRUE(WaitUntilIdle(2));
  Enqueue(kSmall);
  ASSERT_TRUE(done_.WaitFor(1));
  EXPECT_EQ(cpu_.batches().size(), 1);
  ASSERT_TRUE(WaitUntilIdle(2));
  Enqueue(kLeast);
  ASSERT_TRUE(done_.WaitFor(2));
  EXPECT_EQ(cuda_.batches().size(), 1);
  EXPECT_EQ(batcher_.counters().batches, 2);
  EXPECT_EQ(batcher_.counters().cuda_batches, 1);
}

TEST_F(DeviceBatcher, GivesADeviceNothingBelowItsLeast) {
  StartCpu(1);
  StartCuda(2);
  ASSERT_TRUE(WaitUntilIdle(3));
  cpu_.Hold();
  Enqueue(1);
  ASSERT_TRUE(cpu_.WaitUntilHeld());
  Enqueue(kLeast - 1);  // waits, beside idle devices
  EXPECT_TRUE(WaitUntilIdle(2));
  EXPECT_EQ(batcher_.counters().waiting_pairs, 1);
  Enqueue(1);  // now it is worth their while
  ASSERT_TRUE(done_.WaitFor(2));
  ASSERT_EQ(cuda_.batches().size(), 1);
  EXPECT_EQ(cuda_.batches()[0].size(), 2);
}

TEST_F(DeviceBatcher, GivesADeviceEverythingWhereNoCpuLaneServes) {
  StartCuda(1);
  Enqueue(1);
  ASSERT_TRUE(done_.WaitFor(1));
  EXPECT_EQ(cuda_.batches().size(), 1);
}

TEST_F(DeviceBatcher, LetsACpuLaneTakeWhateverWaitsWhileDevicesAreBusy) {
  StartCpu(1);
  StartCuda(1);
  ASSERT_TRUE(WaitUntilIdle(2));
  cpu_.Hold();  // It would take all of the large pair if it were faster to wake up.
  cuda_.Hold();
  Enqueue(kLarge);
  ASSERT_TRUE(cuda_.WaitUntilHeld());
  cpu_.Release();
  Enqueue(kLeast);
  ASSERT_TRUE(WaitUntil([&] { return done_.size() >= 1; }));
}

TEST_F(DeviceBatcher, LeavesNoLaneIdleWhileWorkThatItMayTakeWaits) {
  StartCpu(2);
  StartCuda(2);
  ASSERT_TRUE(WaitUntilIdle(4));
  cpu_.Hold();
  cuda_.Hold();
  for (int i = 0; i < 4; ++i) Enqueue(kLarge, "flow " + std::to_string(i));
  EXPECT_TRUE(cpu_.WaitUntilHeld(2));
  EXPECT_TRUE(cuda_.WaitUntilHeld(2));
}

TEST_F(DeviceBatcher, LetsBatchesGrowUnderBusyLanesToTheByteBoundAndNoFurther) {
  StartCuda(1);
  cuda_.Hold();
  Enqueue(1);
  ASSERT_TRUE(cuda_.WaitUntilHeld());
  for (int i = 0; i < 12; ++i) Enqueue(kLarge / 4);  // a quarter of a batch each
  cuda_.Release();
  ASSERT_TRUE(done_.WaitFor(13));
  EXPECT_EQ(cuda_.batches()[1].size(), 4);
}

TEST_F(DeviceBatcher, HoldsASmallPairForNoLongerThanOneBatchOfAClientsLargeOnes) {
  StartCpu(1);
  StartCuda(1);
  ASSERT_TRUE(WaitUntilIdle(2));
  cpu_.Hold();
  cuda_.Hold();
  for (int i = 0; i < 4; ++i) Enqueue(kLarge, "large");
  ASSERT_TRUE(cpu_.WaitUntilHeld());
  ASSERT_TRUE(cuda_.WaitUntilHeld());
  const RandomPair& small = MakePair(kSmall);
  Enqueue(small, "small");
  cuda_.ReleaseOne();  // passes it over: it has another large one to do
  ASSERT_TRUE(cuda_.WaitUntilHeld());
  EXPECT_EQ(cuda_.batches().size(), 2);
  const size_t batches = cpu_.batches().size();
  cpu_.ReleaseOne();
  ASSERT_TRUE(cpu_.WaitUntilHeld());
  ASSERT_EQ(cpu_.batches().size(), batches + 1);
  EXPECT_EQ(cpu_.batches().back().size(), 1);
  EXPECT_EQ(cpu_.batches().back()[0].pair->pair, &small.pair());
}

// ---- Faults.

TEST_F(DeviceBatcher, EvaluatesWhatFailedOnADeviceByACpuLane) {
  StartCpu(1);
  StartCuda(1);
  ASSERT_TRUE(WaitUntilIdle(2));
  cuda_.SetStatus(Fault());
  const RandomPair& pair = MakePair(kLeast + 7);
  Enqueue(pair);
  ASSERT_TRUE(done_.WaitFor(1));
  EXPECT_EQ(done_.at(0).pairs()[0].status, absl::OkStatus());
  EXPECT_EQ(done_.at(0).pairs()[0].sum, pair.Sum());
  const Batcher::Counters counters = batcher_.counters();
  EXPECT_EQ(counters.failed_batches, 1);
  EXPECT_EQ(counters.retried_batches, 1);
  EXPECT_EQ(counters.failed_pairs, 0);
  ExpectBalance();
}

TEST_F(DeviceBatcher, KeepsAPairRightWhoseOtherPiecesAreDone) {
  StartCpu(1);
  StartCuda(1);
  ASSERT_TRUE(WaitUntilIdle(2));
  cpu_.Hold();
  cuda_.Hold();
  cuda_.SetStatus(Fault());
  const RandomPair& pair = MakePair(kLarge + 5);
  Enqueue(pair);
  ASSERT_TRUE(cuda_.WaitUntilHeld());
  ASSERT_TRUE(cpu_.WaitUntilHeld());
  cpu_.Release();
  ASSERT_TRUE(WaitUntil([&] { return batcher_.counters().waiting_bytes == 0; }));
  cuda_.Release();
  ASSERT_TRUE(done_.WaitFor(1));
  EXPECT_EQ(done_.at(0).pairs()[0].status, absl::OkStatus());
  EXPECT_EQ(done_.at(0).pairs()[0].sum, pair.Sum());
  ExpectBalance();
}

TEST_F(DeviceBatcher, AnswersWithTheFaultWhereNoCpuLaneServes) {
  StartCuda(1);
  cuda_.SetStatus(Fault());
  Enqueue(kLeast);
  ASSERT_TRUE(done_.WaitFor(1));
  EXPECT_EQ(done_.at(0).pairs()[0].status, Fault());
  cuda_.SetStatus(absl::OkStatus());  // it is still in service
  Enqueue(kLeast);
  ASSERT_TRUE(done_.WaitFor(2));
  EXPECT_EQ(done_.at(1).pairs()[0].status, absl::OkStatus());
  EXPECT_EQ(batcher_.counters().retried_batches, 0);
  EXPECT_EQ(no_lane_left_, 0);
  ExpectBalance();
}

TEST_F(DeviceBatcher, KeepsCpuLanesUntilABatchOnADeviceIsSure) {
  StartCpu(1);
  StartCuda(1);
  ASSERT_TRUE(WaitUntilIdle(2));
  cuda_.Hold();
  cuda_.SetStatus(Fault());
  const RandomPair& pair = MakePair(kLeast);
  Enqueue(pair);
  ASSERT_TRUE(cuda_.WaitUntilHeld());
  batcher_.Close();
  for (int i = 0; i < 10'000; ++i) std::this_thread::yield();  // a CPU lane that would go can do so
  cuda_.Release();
  ASSERT_TRUE(done_.WaitFor(1));
  EXPECT_EQ(done_.at(0).pairs()[0].sum, pair.Sum());
}

TEST_F(DeviceBatcher, TakesTheLanesOfALostDeviceOutOfServiceAndServesWithTheCpu) {
  StartCpu(1);
  StartCuda(3);
  ASSERT_TRUE(WaitUntilIdle(4));
  cuda_.LoseDevice();
  cuda_.SetStatus(Fault());
  // Whoever is woken for it leaves without running; or it has been given to a lane, and fails.
  for (int i = 0; i < 5; ++i) Enqueue(kLeast);
  ASSERT_TRUE(done_.WaitFor(5));
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(done_.at(i).pairs()[0].status, absl::OkStatus());
  EXPECT_TRUE(WaitUntil([&] { return batcher_.counters().cuda_lanes == 0; }));
  EXPECT_EQ(batcher_.counters().cpu_lanes, 1);
  EXPECT_EQ(no_lane_left_, 0);
  ExpectBalance();
}

TEST_F(DeviceBatcher, AnswersEverythingWithTheFaultWhenNoLaneIsLeftAndSaysSoOnce) {
  StartCuda(3);
  ASSERT_TRUE(WaitUntilIdle(3));
  cuda_.Hold();
  cuda_.SetStatus(Fault());
  Enqueue(kLeast, "first");
  ASSERT_TRUE(cuda_.WaitUntilHeld());
  cuda_.LoseDevice();
  cuda_.Release();
  ASSERT_TRUE(WaitUntil([&] { return no_lane_left_ == 1; }));
  for (int i = 0; i < 20; ++i) Enqueue(kSmall);
  ASSERT_TRUE(done_.WaitFor(21));
  for (size_t i = 0; i < 21; ++i) EXPECT_EQ(done_.at(i).pairs()[0].status, Fault());
  EXPECT_EQ(batcher_.counters().cuda_lanes, 0);
  Stop();
  EXPECT_EQ(no_lane_left_, 1);
  ExpectBalance();
}

// ---- All at once.

TEST_F(DeviceBatcher, CompletesEveryPairOnceWithTheRightBitsWhileADeviceFailsNowAndThen) {
  StartCpu(2);
  StartCuda(3);
  std::vector<const RandomPair*> pairs;
  std::vector<double> sums;
  for (const int64_t elements : {int64_t{1}, kSmall, kLeast - 1, kLeast, kLeast * 3 + 5, int64_t{400'000}}) {
    pairs.push_back(&MakePair(elements));
    sums.push_back(pairs.back()->Sum());
  }
  constexpr int kThreads = 4;
  constexpr int kTasks = 60;
  std::vector<std::thread> clients;
  for (int thread = 0; thread < kThreads; ++thread) {
    clients.emplace_back([&, thread] {
      std::mt19937_64 random(static_cast<uint64_t>(thread));
      for (int i = 0; i < kTasks; ++i) {
        std::vector<const wire::Pair*> some;
        for (uint64_t n = 1 + random() % 4; n > 0; --n)
          some.push_back(&pairs[random() % pairs.size()]->pair());
        batcher_.Enqueue(done_.Make(some, "flow " + std::to_string(thread)));
        if (random() % 8 == 0) cuda_.SetStatus(random() % 2 == 0 ? Fault() : absl::OkStatus());
      }
    });
  }
  for (std::thread& client : clients) client.join();
  ASSERT_TRUE(done_.WaitFor(kThreads * kTasks));
  for (size_t i = 0; i < kThreads * kTasks; ++i) {
    for (const TaskPair& result : done_.at(i).pairs()) {
      ASSERT_EQ(result.status, absl::OkStatus());
      const auto right = std::find_if(pairs.begin(), pairs.end(), [&](const RandomPair* pair) {
        return &pair->pair() == result.lane.pair;
      });
      ASSERT_EQ(result.sum, sums[static_cast<size_t>(right - pairs.begin())]);
    }
  }
  ExpectBalance();
}

}  // namespace
}  // namespace kldiv::server
