#include "server/rpc/call_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace kldiv::server {
namespace {

using std::chrono::microseconds;
using ::testing::Each;
using ::testing::SizeIs;

CallMetrics::Ended EndOf(Method method, absl::StatusCode code) {
  return {method, code, microseconds(400), 5000, 20};
}

TEST(CallMetrics, CountEachMethodAndStatusByItself) {
  CallMetrics metrics;
  CallMetrics::Shard& shard = metrics.NewShard();
  for (int i = 0; i < 3; ++i) shard.CallStarted(Method::kEvaluate);
  shard.CallStarted(Method::kUnknown);
  shard.CallEnded(EndOf(Method::kEvaluate, absl::StatusCode::kOk));
  shard.CallEnded(EndOf(Method::kEvaluate, absl::StatusCode::kOk));
  shard.CallEnded(EndOf(Method::kEvaluate, absl::StatusCode::kUnauthenticated));
  shard.CallEnded(EndOf(Method::kUnknown, absl::StatusCode::kUnimplemented));

  const CallMetrics::Snapshot snapshot = metrics.snapshot();
  EXPECT_EQ(snapshot.started[static_cast<size_t>(Method::kEvaluate)], 3);
  EXPECT_EQ(snapshot.started[static_cast<size_t>(Method::kUnknown)], 1);
  ASSERT_THAT(snapshot.ended, SizeIs(3));
  EXPECT_EQ(snapshot.ended[0].method, Method::kEvaluate);
  EXPECT_EQ(snapshot.ended[0].code, absl::StatusCode::kOk);
  EXPECT_EQ(snapshot.ended[0].duration.count(), 2);
  EXPECT_EQ(snapshot.ended[0].duration.sum, 800'000);
  EXPECT_EQ(snapshot.ended[0].received.sum, 10'000);
  EXPECT_EQ(snapshot.ended[0].sent.sum, 40);
  EXPECT_EQ(snapshot.ended[1].code, absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(snapshot.ended[1].duration.count(), 1);
  EXPECT_EQ(snapshot.ended[2].method, Method::kUnknown);
}

TEST(CallMetrics, AddUpWhatSeveralThreadsCountWhileTheyAreRead) {
  CallMetrics metrics;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&shard = metrics.NewShard()] {
      for (int n = 0; n < 1000; ++n) {
        shard.CallStarted(Method::kEvaluateBatch);
        shard.CallEnded(EndOf(Method::kEvaluateBatch, static_cast<absl::StatusCode>(n % 3)));
      }
    });
  }
  for (int i = 0; i < 100; ++i) {
    const CallMetrics::Snapshot snapshot = metrics.snapshot();
    int64_t ended = 0;
    for (const CallMetrics::Series& series : snapshot.ended) ended += series.sent.count();
    EXPECT_LE(ended, snapshot.started[static_cast<size_t>(Method::kEvaluateBatch)]);
  }
  for (std::thread& thread : threads) thread.join();
  const CallMetrics::Snapshot snapshot = metrics.snapshot();
  ASSERT_THAT(snapshot.ended, SizeIs(3));
  int64_t ended = 0;
  for (const CallMetrics::Series& series : snapshot.ended) ended += series.duration.count();
  EXPECT_EQ(ended, 3000);
}

}  // namespace
}  // namespace kldiv::server
