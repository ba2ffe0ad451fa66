#include "server/batching/batch_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/batching/queue_rig.h"

namespace kldiv::server {
namespace {

using std::chrono::milliseconds;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Le;
using ::testing::StartsWith;

constexpr int64_t kShareTiles = BatchQueue::kMinShareBytes / kTileBytes;  // 128
constexpr int64_t kPieceTiles = BatchQueue::kMinPieceBytes / kTileBytes;  // 32
constexpr int64_t kLargeBatch = 4096;                                     // tiles of 32 MiB

TEST(BatchQueue, HandsOutEverythingThatWaitsTogetherAndInOrder) {
  QueueRig rig;
  rig.Push("a", {1, 1024, 1025});
  rig.Push("a", {5000});
  EXPECT_EQ(rig.TakeText(100), "a0.0[0,1) a0.1[0,1) a0.2[0,2) a1.0[0,5)");
  EXPECT_FALSE(rig.queue().HasWork(LaneKind::kCpu));
}

TEST(BatchQueue, CountsPairsAndBytesThatWait) {
  QueueRig rig;
  rig.Push("a", {1025, 10});
  EXPECT_EQ(rig.queue().waiting_pairs(), 2);
  EXPECT_EQ(rig.queue().waiting_bytes(), 8 * 1035);
  const Batch batch = rig.Take(1);
  EXPECT_EQ(batch.bytes, 8 * 1024);
  EXPECT_EQ(rig.queue().waiting_pairs(), 2);  // A tile of the first one waits.
  EXPECT_EQ(rig.queue().waiting_bytes(), 8 * 11);
  rig.Take(1);
  EXPECT_EQ(rig.queue().waiting_pairs(), 0);
  EXPECT_EQ(rig.queue().waiting_bytes(), 0);
}

TEST(BatchQueue, CountsBytesByTheirDTypes) {
  QueueRig rig;
  const wire::Pair mixed{{numerics::DType::kFp64, numerics::DType::kBf16, false, false}, 1500, {}, {}};
  testing::CallbackTask task({&mixed}, "a", nullptr);
  task.Begin(rig.now());
  rig.queue().Push(task);
  EXPECT_EQ(rig.queue().waiting_bytes(), 15000);
  Batch batch;
  rig.queue().Take({LaneKind::kCpu, 10240, 1}, rig.now(), batch);
  EXPECT_EQ(batch.bytes, 10240);
  EXPECT_EQ(rig.queue().waiting_bytes(), 4760);
}

TEST(BatchQueue, FillsABatchToItsBytesAndNoFurther) {
  QueueRig rig;
  for (int i = 0; i < 100; ++i) rig.PushTiles("a", {8});
  const Batch batch = rig.Take(256);
  EXPECT_EQ(batch.pieces.size(), 32);
  EXPECT_EQ(batch.bytes, 256 * kTileBytes);
}

TEST(BatchQueue, PutsAtLeastOneTileIntoABatch) {
  QueueRig rig;
  rig.PushTiles("a", {2});
  Batch batch;
  rig.queue().Take({LaneKind::kCpu, 1, 1}, rig.now(), batch);
  EXPECT_EQ(rig.Text(batch), "a0.0[0,1)");
}

TEST(BatchQueue, CutsAPairThatDoesNotFitAtTiles) {
  QueueRig rig;
  rig.Push("a", {5 * 1024 + 1});
  EXPECT_EQ(rig.TakeText(2), "a0.0[0,2)");
  EXPECT_EQ(rig.TakeText(2), "a0.0[2,4)");
  EXPECT_EQ(rig.TakeText(2), "a0.0[4,6)");
}

TEST(BatchQueue, LeavesNoSliverOfAPairBehind) {
  QueueRig rig;
  rig.PushTiles("a", {kLargeBatch + 1});
  EXPECT_THAT(rig.TileCounts(kLargeBatch, 1), ElementsAre(kLargeBatch + 1 - kPieceTiles, kPieceTiles));
}

TEST(BatchQueue, TakesNoSliverOfAPairToFillABatch) {
  QueueRig rig;
  rig.PushTiles("a", {kLargeBatch - 1, 100});
  EXPECT_EQ(rig.Take(kLargeBatch).pieces.size(), 1);
  EXPECT_EQ(rig.TakeText(kLargeBatch), "a0.1[0,100)");
}

TEST(BatchQueue, CutsAPairToFillABatchWhenBothSidesAreWorthIt) {
  QueueRig rig;
  rig.PushTiles("a", {kLargeBatch - 50, 100});
  EXPECT_EQ(rig.TakeText(kLargeBatch), "a0.0[0,4046) a0.1[0,50)");
  EXPECT_EQ(rig.TakeText(kLargeBatch), "a0.1[50,100)");
}

TEST(BatchQueue, SharesALargePairBetweenLanesUntilTheEnd) {
  QueueRig rig;
  rig.PushTiles("a", {2048});
  EXPECT_THAT(rig.TileCounts(kLargeBatch, 2), ElementsAre(1024, 512, 256, kShareTiles, kShareTiles));
}

TEST(BatchQueue, SharesWithinTheBoundOfABatch) {
  QueueRig rig;
  rig.PushTiles("a", {16384});
  EXPECT_THAT(rig.TileCounts(kLargeBatch, 2), Each(Le(kLargeBatch)));
}

TEST(BatchQueue, DoesNotCutAPairHardlyLargerThanAShare) {
  QueueRig rig;
  rig.PushTiles("a", {kShareTiles + kPieceTiles});
  EXPECT_THAT(rig.TileCounts(kLargeBatch, 4), ElementsAre(kShareTiles + kPieceTiles));
}

TEST(BatchQueue, DoesNotShareWhatIsSmall) {
  QueueRig rig;
  for (int i = 0; i < 64; ++i) rig.PushTiles("a", {2});
  EXPECT_EQ(rig.Take(kLargeBatch, 4).pieces.size(), 64);
}

TEST(BatchQueue, SharesManyPairsByTheBytesThatWait) {
  QueueRig rig;
  for (int i = 0; i < 64; ++i) rig.PushTiles("a", {8});
  EXPECT_EQ(rig.Take(kLargeBatch, 1).pieces.size(), 64);
  for (int i = 0; i < 64; ++i) rig.PushTiles("a", {8});
  // Half of it, and what a pair may exceed it by.
  EXPECT_EQ(rig.Take(kLargeBatch, 2).pieces.size(), 32 + 4);
}

TEST(BatchQueue, LooksAtABoundedNumberOfPairsForABatch) {
  QueueRig rig;
  rig.Push("a", std::vector<int64_t>(3 * BatchQueue::kMaxPairs, 10));
  EXPECT_EQ(rig.Take(kLargeBatch).pieces.size(), BatchQueue::kMaxPairs);
  rig.Pass(milliseconds(1));
  const Batch rest = rig.Take(kLargeBatch);
  EXPECT_EQ(rest.pieces.size(), BatchQueue::kMaxPairs);
  rig.Push("b", std::vector<int64_t>(3 * BatchQueue::kMaxPairs, 10), rig.now());
  EXPECT_LE(rig.Take(kLargeBatch).dropped.size(), BatchQueue::kMaxPairs);
}

TEST(BatchQueue, TellsThePairWhenItsComputingBegan) {
  QueueRig rig;
  Task& task = rig.PushTiles("a", {3, 1});
  rig.Pass(milliseconds(5));
  rig.Take(2);
  rig.Pass(milliseconds(5));
  rig.Take(2);
  EXPECT_EQ(task.pairs()[0].queue_ns, 5'000'000);
  EXPECT_EQ(task.pairs()[1].queue_ns, 10'000'000);
}

// Flows.

TEST(BatchQueue, GivesFlowsTurnsByBytes) {
  QueueRig rig;
  for (int i = 0; i < 4; ++i) rig.PushTiles("a", {64});
  for (int i = 0; i < 8; ++i) rig.PushTiles("b", {32});
  EXPECT_EQ(rig.TakeText(64), "a0.0[0,64)");
  EXPECT_EQ(rig.TakeText(64), "b0.0[0,32) b1.0[0,32)");
  EXPECT_EQ(rig.TakeText(64), "a1.0[0,64)");
  EXPECT_EQ(rig.TakeText(64), "b2.0[0,32) b3.0[0,32)");
}

TEST(BatchQueue, LetsASmallPairGoInTheBatchAfterALargeOneOfAnotherFlow) {
  QueueRig rig;
  for (int i = 0; i < 10; ++i) rig.PushTiles("large", {kLargeBatch});
  rig.Take(kLargeBatch);
  rig.Push("small", {1000});
  EXPECT_EQ(rig.TakeText(kLargeBatch), "small0.0[0,1)");  // And alone, so that its answer waits for nobody.
  EXPECT_EQ(rig.TakeText(kLargeBatch), "large1.0[0,4096)");
}

TEST(BatchQueue, DoesNotLetAPairJoinALargePieceOfAnotherFlow) {
  QueueRig rig;
  rig.PushTiles("large", {kShareTiles});
  rig.Push("small", {1000});
  EXPECT_EQ(rig.TakeText(kLargeBatch), "large0.0[0,128)");
  EXPECT_EQ(rig.TakeText(kLargeBatch), "small0.0[0,1)");
}

TEST(BatchQueue, MixesSmallPairsOfAllFlows) {
  QueueRig rig;
  for (int i = 0; i < 64; ++i) rig.PushTiles(absl::StrCat("client ", i), {8});
  EXPECT_EQ(rig.Take(kLargeBatch).pieces.size(), 64);
}

TEST(BatchQueue, RemembersWhatAFlowWasGivenWhileOthersWait) {
  QueueRig rig;
  rig.PushTiles("a", {256});
  for (int i = 0; i < 8; ++i) rig.PushTiles("b", {64});
  EXPECT_EQ(rig.TakeText(256), "a0.0[0,256)");
  rig.PushTiles("a", {1});  // Back at once, and ahead by 256 tiles.
  EXPECT_EQ(rig.TakeText(192), "b0.0[0,64) b1.0[0,64) b2.0[0,64)");
  EXPECT_THAT(rig.TakeText(192), StartsWith("b3.0[0,64) a1.0[0,1)"));
}

TEST(BatchQueue, RemembersWhatAFlowWasGivenWhenItIsBackBeforeAnyoneElse) {
  QueueRig rig;
  rig.PushTiles("a", {256});
  rig.TakeText(256);
  rig.PushTiles("a", {256});
  rig.PushTiles("b", {1});
  EXPECT_EQ(rig.TakeText(256), "b0.0[0,1)");
}

TEST(BatchQueue, ForgetsFlowsThatNeverComeBack) {
  QueueRig rig;
  rig.PushTiles("first", {256});
  rig.Take(256);
  for (int i = 0; i < 2000; ++i) {
    rig.PushTiles(absl::StrCat("guest ", i), {512});
    rig.Take(512);
  }
  rig.PushTiles("first", {256});
  rig.PushTiles("new", {1});
  EXPECT_EQ(rig.TakeText(256), "first1.0[0,256)");  // As new as the other, and earlier.
}

TEST(BatchQueue, GivesNoCreditForTimeAway) {
  QueueRig rig;
  for (int i = 0; i < 20; ++i) rig.PushTiles("a", {64});
  for (int i = 0; i < 10; ++i) rig.Take(64);
  for (int i = 0; i < 20; ++i) rig.PushTiles("b", {64});
  int given_to_a = 0;
  for (int i = 0; i < 10; ++i) given_to_a += rig.TakeText(64).starts_with("a") ? 1 : 0;
  EXPECT_EQ(given_to_a, 5);
}

TEST(BatchQueue, MakesFlowsOfTinyPairsPayForTheirTurns) {
  QueueRig rig;
  rig.Push("tiny", std::vector<int64_t>(10'000, 1));
  rig.PushTiles("other", {1});
  const Batch batch = rig.Take(kLargeBatch);
  EXPECT_EQ(std::count_if(batch.parts.begin(), batch.parts.end(),
                          [](const Batch::Part& part) { return part.task->flow() == "other"; }),
            1);
}

// What is not computed.

TEST(BatchQueue, DropsPairsWhoseDeadlineHasCome) {
  QueueRig rig;
  rig.Push("a", {10, 10}, rig.now() + milliseconds(5));
  rig.Push("a", {10}, rig.now() + milliseconds(6));
  rig.Pass(milliseconds(5));
  EXPECT_EQ(rig.TakeText(10), "a1.0[0,1) expired a0.0 expired a0.1");
}

TEST(BatchQueue, DropsCancelledTasksWhole) {
  QueueRig rig;
  Task& task = rig.Push("a", {10, 10, 10});
  rig.Push("a", {10});
  task.Cancel();
  EXPECT_EQ(rig.TakeText(10), "a1.0[0,1) cancelled a0.0-2");
  EXPECT_EQ(rig.queue().waiting_bytes(), 0);
}

TEST(BatchQueue, DropsTheRestOfACutPairAndTellsWhereItBegins) {
  QueueRig rig;
  Task& task = rig.PushTiles("a", {5, 5});
  EXPECT_EQ(rig.TakeText(3), "a0.0[0,3)");
  task.Cancel();
  EXPECT_EQ(rig.TakeText(3), "cancelled a0.0-1");
  EXPECT_EQ(task.pairs()[0].next_tile, 3);
  EXPECT_EQ(rig.queue().waiting_pairs(), 0);
  EXPECT_EQ(rig.queue().waiting_bytes(), 0);
}

TEST(BatchQueue, DropsPairsWithoutElements) {
  QueueRig rig;
  rig.Push("a", {0, 10, 0});
  EXPECT_EQ(rig.TakeText(10), "a0.1[0,1) empty a0.0 empty a0.2");
}

// Any load at all.

TEST(BatchQueue, HandsOutEveryTileOnce) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    QueueRig rig;
    std::map<TaskPair*, int64_t> tiles_taken;
    std::vector<Task*> tasks;
    while (tasks.size() < 50 || rig.queue().HasWork(LaneKind::kCpu)) {
      if (tasks.size() < 50 && random() % 2 == 0) {
        std::vector<int64_t> elements;
        for (size_t i = 1 + random() % 5; i > 0; --i)
          elements.push_back(random() % 4 * (random() % 300'000) / 3);
        tasks.push_back(&rig.Push(std::string(1, "abc"[random() % 3]), elements,
                                  rig.now() + milliseconds(random() % 200)));
      } else {
        const int64_t max_tiles = 1 + static_cast<int64_t>(random() % 400);
        const Batch batch = rig.Take(max_tiles, 1 + random() % 4);
        EXPECT_LE(batch.bytes, max_tiles * kTileBytes);
        EXPECT_FALSE(batch.pieces.empty() && batch.dropped.empty() && rig.queue().HasWork(LaneKind::kCpu));
        for (size_t i = 0; i < batch.pieces.size(); ++i) {
          EXPECT_EQ(batch.pieces[i].first_tile, tiles_taken[batch.parts[i].pair]);
          EXPECT_GE(batch.pieces[i].tile_count, 1);
          tiles_taken[batch.parts[i].pair] += batch.pieces[i].tile_count;
        }
        for (const Batch::Dropped& dropped : batch.dropped) {
          for (TaskPair& pair : dropped.task->pairs().subspan(dropped.first_pair, dropped.pairs)) {
            tiles_taken[&pair] += numerics::TileCount(pair.lane.pair->elements) - pair.next_tile;
          }
        }
        if (random() % 4 == 0 && !tasks.empty()) tasks[random() % tasks.size()]->Cancel();
        rig.Pass(milliseconds(random() % 10));
      }
    }
    for (Task* task : tasks) {
      for (TaskPair& pair : task->pairs()) {
        ASSERT_TRUE(tiles_taken.contains(&pair));
        EXPECT_EQ(tiles_taken[&pair], numerics::TileCount(pair.lane.pair->elements));
      }
    }
    EXPECT_EQ(rig.queue().waiting_pairs(), 0);
    EXPECT_EQ(rig.queue().waiting_bytes(), 0);
  }
}

}  // namespace
}  // namespace kldiv::server
