#include "server/batching/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/batching/lane_runner.h"
#include "server/numerics/formula.h"
#include "tests/testing/collecting_task.h"
#include "tests/testing/patience.h"
#include "tests/testing/random_pair.h"
#include "tests/testing/steerable_lane.h"

namespace kldiv::server {
namespace {

using ::testing::AllOf;
using testing::DoneTasks;
using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;
using testing::LaneControl;
using testing::RandomPair;

constexpr int64_t kMaxBatchBytes = int64_t{32} << 20;
constexpr int64_t kTileBytes = 8 * numerics::kTileElements;  // FP32

// A batcher whose lanes the test steers.
class BatcherTest : public ::testing::Test {
 protected:
  ~BatcherTest() override { Stop(); }

  void StartLanes(int lanes, int64_t max_batch_bytes = kMaxBatchBytes) {
    runner_.emplace(batcher_, LaneKind::kCpu, control_.MakeLanes(lanes), max_batch_bytes);
  }

  void Stop() {
    control_.Release();
    batcher_.Close();
    runner_.reset();
  }

  // A pair of FP32 tensors that lives as long as the test.
  const RandomPair& MakePair(int64_t elements) {
    pairs_.push_back(std::make_unique<RandomPair>(RandomPair::Shape{.elements = elements}, random_));
    return *pairs_.back();
  }

  // Enqueues `count` new pairs, each a task of its own.
  void EnqueuePairs(int count, int64_t elements, const std::string& flow = "flow") {
    for (int i = 0; i < count; ++i) batcher_.Enqueue(done_.Make({&MakePair(elements).pair()}, flow));
  }

  // Holds one lane with a pair of its own, so that what follows waits.
  void HoldLane() {
    control_.Hold();
    EnqueuePairs(1, 1, "holds a lane");
    ASSERT_TRUE(control_.WaitUntilHeld());
  }

  // Do `lanes` lanes wait for work, now or soon?
  bool WaitUntilIdle(int lanes) {
    const auto end = testing::PatienceEnd();
    while (batcher_.counters().idle_lanes < lanes) {
      if (Clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }

  // A task of one pair whose deadline is now in the past.
  std::unique_ptr<Task> MakeExpired(int64_t elements) {
    std::unique_ptr<Task> task = done_.Make({&MakePair(elements).pair()});
    task->pairs()[0].deadline = Clock::now();
    return task;
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
  LaneControl control_;
  Batcher batcher_;
  std::optional<LaneRunner> runner_;
};

TEST_F(BatcherTest, AnswersAPair) {
  StartLanes(1);
  const RandomPair& pair = MakePair(10'000);
  batcher_.Enqueue(done_.Make({&pair.pair()}));
  ASSERT_TRUE(done_.WaitFor(1));
  const TaskPair& result = done_.at(0).pairs()[0];
  EXPECT_TRUE(result.status.ok());
  EXPECT_EQ(result.sum, pair.Sum());
  EXPECT_EQ(result.batch_pairs, 1);
  EXPECT_GT(result.compute_ns, 0);
  ExpectBalance();
}

TEST_F(BatcherTest, Lets64WaitingPairsOf8TilesLeaveAsOneBatch) {
  StartLanes(1);
  HoldLane();
  EnqueuePairs(64, 8 * numerics::kTileElements);
  control_.Release();
  ASSERT_TRUE(done_.WaitFor(65));
  for (size_t i = 1; i < 65; ++i) {
    const TaskPair& result = done_.at(i).pairs()[0];
    EXPECT_TRUE(result.status.ok());
    EXPECT_EQ(result.batch_pairs, 64);
  }
  EXPECT_EQ(batcher_.counters().batches, 2);
  EXPECT_THAT(control_.batches()[1], Each(Field(&Piece::tile_count, 8)));
}

TEST_F(BatcherTest, LetsBatchesGrowUnderAHeldLaneToTheByteBoundAndNoFurther) {
  StartLanes(1, 256 * kTileBytes);
  HoldLane();
  EnqueuePairs(40, 8 * numerics::kTileElements);
  control_.Release();
  ASSERT_TRUE(done_.WaitFor(41));
  const std::vector<std::vector<Piece>> batches = control_.batches();
  ASSERT_EQ(batches.size(), 3);
  EXPECT_EQ(batches[1].size(), 32);
  EXPECT_EQ(batches[2].size(), 8);
}

TEST_F(BatcherTest, LetsALonePairLeaveAtOnce) {
  StartLanes(1);
  control_.Hold();
  EnqueuePairs(1, 1);
  EXPECT_TRUE(control_.WaitUntilHeld());
}

TEST_F(BatcherTest, SharesALargePairBetweenAllLanes) {
  StartLanes(3);
  control_.Hold();
  const RandomPair& pair = MakePair(1'000'000);
  batcher_.Enqueue(done_.Make({&pair.pair()}));
  EXPECT_TRUE(control_.WaitUntilHeld(3));
  control_.Release();
  ASSERT_TRUE(done_.WaitFor(1));
  EXPECT_GE(control_.batches().size(), 3);
  EXPECT_EQ(done_.at(0).pairs()[0].sum, pair.Sum());
  ExpectBalance();
}

TEST_F(BatcherTest, LeavesNoLaneIdleWhileWorkWaits) {
  StartLanes(4);
  ASSERT_TRUE(WaitUntilIdle(4));
  control_.Hold();
  for (int lane = 1; lane <= 4; ++lane) {
    EnqueuePairs(1, 1);
    EXPECT_TRUE(control_.WaitUntilHeld(lane));
  }
}

TEST_F(BatcherTest, LeavesNoLaneIdleWhenWorkComesAllAtOnce) {
  StartLanes(4);
  ASSERT_TRUE(WaitUntilIdle(4));
  control_.Hold();
  EnqueuePairs(16, 128 * numerics::kTileElements);  // 1 MiB each: every lane's share
  EXPECT_TRUE(control_.WaitUntilHeld(4));
}

TEST_F(BatcherTest, LeavesNoLaneIdleWhenABatchLeavesTinyPairsBehind) {
  StartLanes(4);
  ASSERT_TRUE(WaitUntilIdle(4));
  control_.Hold();
  const RandomPair& pair = MakePair(10);
  batcher_.Enqueue(done_.Make(std::vector<const wire::Pair*>(4 * BatchQueue::kMaxPairs, &pair.pair())));
  EXPECT_TRUE(control_.WaitUntilHeld(4));
}

TEST_F(BatcherTest, LetsASmallPairPassTheLargeOnesOfAnotherFlow) {
  StartLanes(1);
  control_.Hold();
  EnqueuePairs(4, 1'000'000, "large");
  ASSERT_TRUE(control_.WaitUntilHeld());
  EnqueuePairs(1, 1000, "small");
  control_.ReleaseOne();
  ASSERT_TRUE(control_.WaitUntilHeld());
  ASSERT_EQ(control_.batches().size(), 2);
  EXPECT_EQ(control_.batches()[1].size(), 1);
  EXPECT_EQ(control_.batches()[1][0].pair->pair->elements, 1000);
}

TEST_F(BatcherTest, AnswersAPairWithoutElements) {
  StartLanes(1);
  batcher_.Enqueue(done_.Make({&MakePair(0).pair(), &MakePair(0).pair()}));
  ASSERT_TRUE(done_.WaitFor(1));
  for (const TaskPair& pair : done_.at(0).pairs()) {
    EXPECT_TRUE(pair.status.ok());
    EXPECT_EQ(pair.sum, 0);
    EXPECT_FALSE(std::signbit(pair.sum));
  }
  EXPECT_EQ(batcher_.counters().batches, 0);
  ExpectBalance();
}

TEST_F(BatcherTest, DoesNotComputeExpiredPairs) {
  StartLanes(1);
  HoldLane();
  batcher_.Enqueue(MakeExpired(1000));
  EnqueuePairs(1, 1000);
  control_.Release();
  ASSERT_TRUE(done_.WaitFor(3));
  // Dropped before the batch of the other begins.
  EXPECT_EQ(done_.at(1).pairs()[0].status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(done_.at(1).pairs()[0].status.message()), HasSubstr("not computed"));
  EXPECT_GT(done_.at(1).pairs()[0].queue_ns, 0);
  EXPECT_TRUE(done_.at(2).pairs()[0].status.ok());
  EXPECT_EQ(batcher_.counters().expired_pairs, 1);
  EXPECT_EQ(control_.batches().size(), 2);
  ExpectBalance();
}

TEST_F(BatcherTest, DoesNotComputeCancelledTasks) {
  StartLanes(1);
  HoldLane();
  std::unique_ptr<Task> task = done_.Make({&MakePair(10).pair(), &MakePair(10).pair()});
  Task* const cancelled = task.get();
  batcher_.Enqueue(std::move(task));
  cancelled->Cancel();
  control_.Release();
  ASSERT_TRUE(done_.WaitFor(2));
  for (const TaskPair& pair : done_.at(1).pairs())
    EXPECT_EQ(pair.status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(batcher_.counters().cancelled_pairs, 2);
  EXPECT_EQ(control_.batches().size(), 1);
  ExpectBalance();
}

TEST_F(BatcherTest, EndsACancelledPairWhenItsLastPieceIsBack) {
  StartLanes(2, 256 * kTileBytes);
  control_.Hold();
  std::unique_ptr<Task> task = done_.Make({&MakePair(1024 * numerics::kTileElements).pair()});
  Task* const cancelled = task.get();
  batcher_.Enqueue(std::move(task));
  ASSERT_TRUE(control_.WaitUntilHeld(2));  // Two pieces are being computed, the rest waits.
  cancelled->Cancel();
  control_.ReleaseOne();
  // The lane that is free drops the rest and goes on, while the other piece keeps the task from its end.
  EnqueuePairs(1, 1);
  ASSERT_TRUE(control_.WaitUntilHeld(2));
  EXPECT_EQ(batcher_.counters().cancelled_pairs, 1);
  EXPECT_EQ(done_.size(), 0);
  control_.Release();
  ASSERT_TRUE(done_.WaitFor(2));
  EXPECT_EQ(control_.batches().size(), 3);
  ExpectBalance();
}

TEST_F(BatcherTest, EndsAnExpiredPairWhenItsLastPieceIsBack) {
  StartLanes(1, 256 * kTileBytes);
  control_.Hold();
  std::unique_ptr<Task> task = done_.Make({&MakePair(1024 * numerics::kTileElements).pair()});
  Task* const expired = task.get();
  batcher_.Enqueue(std::move(task));
  ASSERT_TRUE(control_.WaitUntilHeld());
  expired->pairs()[0].deadline = Clock::now();  // The only lane is held: nobody looks at it.
  control_.Release();
  ASSERT_TRUE(done_.WaitFor(1));
  EXPECT_EQ(done_.at(0).pairs()[0].status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(control_.batches().size(), 1);
  EXPECT_EQ(batcher_.counters().expired_pairs, 1);
  ExpectBalance();
}

TEST_F(BatcherTest, GivesADevicesFaultToEveryPairOfTheBatchAndToNoOther) {
  StartLanes(1);
  HoldLane();
  control_.SetStatus(absl::UnavailableError("cudaErrorIllegalAddress"));
  EnqueuePairs(3, 2000);
  control_.ReleaseOne();
  ASSERT_TRUE(control_.WaitUntilHeld());  // The three are with the lane.
  control_.ReleaseOne();
  ASSERT_TRUE(done_.WaitFor(4));
  control_.SetStatus(absl::OkStatus());
  EnqueuePairs(1, 2000);
  control_.Release();
  ASSERT_TRUE(done_.WaitFor(5));
  for (size_t i = 1; i < 4; ++i) {
    EXPECT_EQ(done_.at(i).pairs()[0].status, absl::UnavailableError("cudaErrorIllegalAddress"));
  }
  EXPECT_TRUE(done_.at(4).pairs()[0].status.ok());
  EXPECT_EQ(batcher_.counters().failed_pairs, 4);  // The one that held the lane, too.
  ExpectBalance();
}

TEST_F(BatcherTest, GivesAPairThatWasCutTheFaultOfAnyPiece) {
  StartLanes(1, 256 * kTileBytes);
  control_.Hold();
  control_.SetStatus(absl::UnavailableError("cudaErrorEccUncorrectable"));
  EnqueuePairs(1, 512 * numerics::kTileElements);
  ASSERT_TRUE(control_.WaitUntilHeld());
  control_.ReleaseOne();
  ASSERT_TRUE(control_.WaitUntilHeld());
  control_.SetStatus(absl::OkStatus());
  control_.Release();
  ASSERT_TRUE(done_.WaitFor(1));
  EXPECT_EQ(done_.at(0).pairs()[0].status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(batcher_.counters().failed_pairs, 1);
  ExpectBalance();
}

TEST_F(BatcherTest, HandsOutWhatWaitsWhenItIsClosed) {
  StartLanes(2);
  control_.Hold();
  EnqueuePairs(100, 3000);
  batcher_.Close();
  Stop();
  EXPECT_EQ(done_.size(), 100);
  ExpectBalance();
}

TEST_F(BatcherTest, HoldsNoLockWhileATaskIsDone) {
  StartLanes(1);
  DoneTasks second;
  const RandomPair& pair = MakePair(100);
  batcher_.Enqueue(std::make_unique<testing::CallbackTask>(
      std::vector<const wire::Pair*>{&pair.pair()}, "flow", [&](std::unique_ptr<Task>) {
        EXPECT_EQ(batcher_.counters().completed_pairs, 1);
        batcher_.Enqueue(second.Make({&pair.pair()}));
      }));
  ASSERT_TRUE(second.WaitFor(1));
  EXPECT_EQ(second.at(0).pairs()[0].sum, pair.Sum());
}

TEST_F(BatcherTest, AnswersTheLargestBatch) {
  StartLanes(2);
  const RandomPair& pair = MakePair(10);
  batcher_.Enqueue(done_.Make(std::vector<const wire::Pair*>(65'536, &pair.pair())));
  ASSERT_TRUE(done_.WaitFor(1));
  const double sum = pair.Sum();
  for (const TaskPair& result : done_.at(0).pairs()) ASSERT_EQ(result.sum, sum);
  ExpectBalance();
}

TEST_F(BatcherTest, DropsTheLargestBatchWhenItIsCancelled) {
  StartLanes(1);
  HoldLane();
  const RandomPair& pair = MakePair(10);
  std::unique_ptr<Task> task = done_.Make(std::vector<const wire::Pair*>(65'536, &pair.pair()));
  task->Cancel();
  batcher_.Enqueue(std::move(task));
  control_.Release();
  ASSERT_TRUE(done_.WaitFor(2));
  EXPECT_EQ(batcher_.counters().cancelled_pairs, 65'536);
  ExpectBalance();
}

}  // namespace
}  // namespace kldiv::server
