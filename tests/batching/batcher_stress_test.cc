#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/batching/batcher.h"
#include "server/batching/lane_runner.h"
#include "server/lanes/cpu_lane.h"
#include "tests/testing/collecting_task.h"
#include "tests/testing/random_pair.h"

namespace kldiv::server {
namespace {

using testing::DoneTasks;
using testing::RandomPair;

// A lane whose device fails now and then, after it has spoilt its outputs.
class UnreliableLane final : public Lane {
 public:
  absl::Status Run(std::span<const Piece> pieces) override {
    if (++runs_ % 10 != 3) return cpu_->Run(pieces);
    for (const Piece& piece : pieces) piece.pair->tile_sums[piece.first_tile] = -1;
    return absl::UnavailableError("cudaErrorLaunchFailure");
  }

 private:
  int runs_ = 0;
  const std::unique_ptr<Lane> cpu_ = MakeCpuLane();
};

// Pairs of all sizes with their sums, for many tasks to share.
class Pool {
 public:
  explicit Pool(std::mt19937_64& random) {
    for (const int64_t elements : {0, 1, 100, 1000, 1024, 5000, 5000, 20'000, 20'000, 100'000}) {
      pairs_.push_back(std::make_unique<RandomPair>(
          RandomPair::Shape{testing::RandomFormula(random), elements, 1 + random() % 30'000}, random));
      sums_[&pairs_.back()->pair()] = pairs_.back()->Sum();
    }
  }

  const wire::Pair* Pick(std::mt19937_64& random) const { return &pairs_[random() % pairs_.size()]->pair(); }
  double SumOf(const wire::Pair* pair) const { return sums_.at(pair); }

 private:
  std::vector<std::unique_ptr<RandomPair>> pairs_;
  std::map<const wire::Pair*, double> sums_;
};

// Enqueues tasks, some of them with a deadline, and cancels some.
void Enqueue(int tasks, uint64_t seed, const Pool& pool, DoneTasks& done, Batcher& batcher) {
  std::mt19937_64 random(seed);
  std::vector<Task*> enqueued;  // `done` keeps them
  for (int i = 0; i < tasks; ++i) {
    std::vector<const wire::Pair*> pairs;
    for (size_t n = 1 + random() % 5; n > 0; --n) pairs.push_back(pool.Pick(random));
    std::unique_ptr<Task> task = done.Make(pairs, absl::StrCat("flow ", random() % 4));
    for (TaskPair& pair : task->pairs()) {
      if (random() % 8 == 0) pair.deadline = Clock::now() + std::chrono::microseconds(random() % 2000);
    }
    enqueued.push_back(task.get());
    batcher.Enqueue(std::move(task));
    if (random() % 8 == 0) enqueued[random() % enqueued.size()]->Cancel();
  }
}

TEST(BatcherStress, EndsEveryPairOnceWithTheRightAnswerOrAReason) {
  constexpr int kThreads = 3;
  constexpr int kTasksOfAThread = 150;
  int64_t failed_pairs = 0;
  for (uint64_t round = 0; round < 4; ++round) {
    std::mt19937_64 random(round);
    const Pool pool(random);
    DoneTasks done;
    Batcher batcher;
    {
      std::vector<std::unique_ptr<Lane>> lanes;
      for (uint64_t i = 0; i <= round; ++i) lanes.push_back(std::make_unique<UnreliableLane>());
      // Small batches in two rounds of four, so that most pairs are cut.
      const LaneRunner runner(batcher, LaneKind::kCpu, std::move(lanes), round % 2 == 0 ? 50'000 : 32 << 20);
      std::vector<std::thread> threads;
      for (uint64_t thread = 0; thread < kThreads; ++thread) {
        threads.emplace_back([&, thread] { Enqueue(kTasksOfAThread, thread, pool, done, batcher); });
      }
      for (std::thread& thread : threads) thread.join();
      batcher.Close();
    }

    ASSERT_EQ(done.size(), kThreads * kTasksOfAThread);
    std::map<absl::StatusCode, int64_t> outcomes;
    int64_t pairs = 0;
    for (size_t i = 0; i < done.size(); ++i) {
      for (const TaskPair& pair : done.at(i).pairs()) {
        ++pairs;
        ++outcomes[pair.status.code()];
        if (!pair.status.ok()) continue;
        EXPECT_EQ(pair.sum, pool.SumOf(pair.lane.pair));
      }
    }
    const Batcher::Counters counters = batcher.counters();
    EXPECT_EQ(counters.enqueued_pairs, pairs);
    EXPECT_EQ(counters.completed_pairs, pairs);
    EXPECT_EQ(counters.expired_pairs, outcomes[absl::StatusCode::kDeadlineExceeded]);
    EXPECT_EQ(counters.cancelled_pairs, outcomes[absl::StatusCode::kCancelled]);
    EXPECT_EQ(counters.failed_pairs, outcomes[absl::StatusCode::kUnavailable]);
    EXPECT_GT(outcomes[absl::StatusCode::kOk], 0);
    EXPECT_EQ(counters.waiting_bytes, 0);
    failed_pairs += counters.failed_pairs;
  }
  EXPECT_GT(failed_pairs, 0);
}

}  // namespace
}  // namespace kldiv::server
