// What the queue does for CUDA lanes beside CPU lanes.

#include <gtest/gtest.h>

#include "server/batching/batch_queue.h"
#include "tests/batching/queue_rig.h"

namespace kldiv::server {
namespace {

constexpr int64_t kLeast = 65536;  // elements
constexpr int64_t kMaxBytes = int64_t{32} << 20;

Batch TakeForDevice(QueueRig& rig, int64_t min_elements = kLeast, int64_t max_bytes = kMaxBytes) {
  Batch batch;
  rig.queue().Take({LaneKind::kCuda, max_bytes, 1, min_elements}, rig.now(), batch);
  return batch;
}

TEST(DeviceQueue, HasNothingForADeviceBelowTheLeastThatItAsksFor) {
  QueueRig rig;
  rig.Push("a", {kLeast - 1});
  EXPECT_FALSE(rig.queue().HasWork(LaneKind::kCuda, kLeast));
  EXPECT_TRUE(rig.queue().HasWork(LaneKind::kCuda, 0));
  EXPECT_TRUE(rig.queue().HasWork(LaneKind::kCpu));
  rig.Push("b", {1});
  EXPECT_TRUE(rig.queue().HasWork(LaneKind::kCuda, kLeast));
}

TEST(DeviceQueue, GivesADeviceManySmallPairsAtOnce) {
  QueueRig rig;
  for (int i = 0; i < 1000; ++i) rig.Push("a", {1000});
  EXPECT_EQ(TakeForDevice(rig).pieces.size(), 1000);
  EXPECT_EQ(rig.queue().waiting_pairs(), 0);
}

TEST(DeviceQueue, SetsASmallPairAsideWhenALargeOneWouldMakeItWait) {
  QueueRig rig;
  rig.Push("small", {1000});
  rig.PushTiles("large", {4096});
  EXPECT_EQ(rig.Text(TakeForDevice(rig)), "large0.0[0,4096)");
  EXPECT_EQ(rig.queue().set_aside_pieces(), 1);
  EXPECT_EQ(rig.queue().set_aside_bytes(), 8000);
  EXPECT_FALSE(rig.queue().HasWork(LaneKind::kCuda, 0));  // it is for CPU lanes alone
  EXPECT_EQ(rig.TakeText(4096), "small0.0[0,1)");
  EXPECT_EQ(rig.queue().set_aside_bytes(), 0);
}

TEST(DeviceQueue, LetsASmallPairGoAloneOnADeviceThatAsksForNothing) {
  QueueRig rig;
  rig.Push("small", {1000});
  rig.PushTiles("large", {4096});
  EXPECT_EQ(rig.Text(TakeForDevice(rig, 0)), "small0.0[0,1)");
  EXPECT_EQ(rig.Text(TakeForDevice(rig, 0)), "large0.0[0,4096)");
}

TEST(DeviceQueue, SetsTheEndOfALargePairAsideWhenItIsTooLittle) {
  QueueRig rig;
  rig.Push("a", {4096 * 1024, 60 * 1024});
  EXPECT_EQ(rig.Text(TakeForDevice(rig)), "a0.0[0,4096)");
  EXPECT_TRUE(TakeForDevice(rig).pieces.empty());
  EXPECT_EQ(rig.TakeText(4096), "a0.1[0,60)");
}

TEST(DeviceQueue, SetsABatchOfExpiredAndTooFewPairsAside) {
  QueueRig rig;
  rig.Push("a", {kLeast}, rig.now());
  rig.Push("b", {1000});
  EXPECT_EQ(rig.Text(TakeForDevice(rig)), "expired a0.0");
  EXPECT_EQ(rig.TakeText(4096), "b0.0[0,1)");
}

TEST(DeviceQueue, AsksForNoMoreThanABatchHolds) {
  QueueRig rig;
  rig.PushTiles("a", {512});
  Batch batch = TakeForDevice(rig, int64_t{1} << 40, 16 * kTileBytes);
  EXPECT_EQ(batch.bytes, 16 * kTileBytes);
}

TEST(DeviceQueue, HandsWhatFailedToCpuLanesFirstAndCutToTheirShare) {
  QueueRig rig;
  rig.Push("a", {512 * 1024, 512 * 1024 - 5});
  const Batch failed = TakeForDevice(rig);
  rig.PushTiles("b", {1});
  rig.queue().SetAside(failed);
  rig.Pass(std::chrono::milliseconds(7));
  EXPECT_EQ(rig.TakeText(4096, 4), "a0.0[0,256)");  // a quarter of 8 MiB
  EXPECT_EQ(rig.TakeText(4096, 1), "a0.0[256,512) a0.1[0,512)");
  EXPECT_EQ(rig.queue().set_aside_bytes(), 0);
  EXPECT_EQ(rig.TakeText(4096), "b0.0[0,1)");
  EXPECT_EQ(failed.parts[0].pair->queue_ns, 7'000'000);
}

TEST(DeviceQueue, CountsElementsThatWait) {
  QueueRig rig;
  rig.Push("a", {1000, 3000});
  Task& cancelled = rig.Push("b", {5000});
  EXPECT_TRUE(rig.queue().HasWork(LaneKind::kCuda, 9000));
  EXPECT_FALSE(rig.queue().HasWork(LaneKind::kCuda, 9001));
  cancelled.Cancel();
  rig.Take(1);
  EXPECT_FALSE(rig.queue().HasWork(LaneKind::kCuda, 8977));
  while (rig.queue().HasWork(LaneKind::kCpu)) rig.Take(1);
  EXPECT_FALSE(rig.queue().HasWork(LaneKind::kCuda, 0));
}

}  // namespace
}  // namespace kldiv::server
