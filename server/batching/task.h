#ifndef KLDIV_SERVER_BATCHING_TASK_H_
#define KLDIV_SERVER_BATCHING_TASK_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/lanes/lane.h"

namespace kldiv::server {

using Clock = std::chrono::steady_clock;

// One pair of a task, from admission to its result.
struct TaskPair {
  LanePair lane;                                        // `pair` and, for `none`, `pointwise` are set by the owner
  Clock::time_point deadline = Clock::time_point::max();  // it is not computed after this moment

  // Results, valid when the task is done.
  absl::Status status;  // DEADLINE_EXCEEDED or CANCELLED: not computed; UNAVAILABLE: the device failed
  double sum = 0;       // NaN canonical, not yet divided; meaningless for `none`
  int64_t queue_ns = 0;    // from Enqueue to the start of computing
  int64_t compute_ns = 0;  // of the batch that held its last piece
  int32_t batch_pairs = 0;  // pairs in that batch

  // The batcher's own.
  int64_t next_tile = 0;                // the first that no batch has taken yet
  std::atomic<int64_t> tiles_left{0};   // not yet evaluated
  std::unique_ptr<double[]> sums;       // behind lane.tile_sums
};

// The pairs of one message on their way through the lanes: the unit that completes.
//
// A task has one owner at a time. Its maker fills it and hands it to the batcher, which hands it to Done.
class Task {
 public:
  // `pairs` pairs, at least 1, to be filled by the caller. `flow` names whose it is: flows share the lanes evenly.
  Task(size_t pairs, std::string flow);
  virtual ~Task() = default;

  std::vector<TaskPair>& pairs() { return pairs_; }
  const std::string& flow() const { return flow_; }

  // Nobody waits for the answer any more: what has not begun is not computed. Any thread, any time before Done.
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  // All pairs have their results. Called exactly once, on a lane's thread, with no lock held; owns itself
  // from here on.
  virtual void Done(std::unique_ptr<Task> self) = 0;

  // The batcher's own.
  Clock::time_point enqueued_at;
  std::atomic<int64_t> pairs_left;

 private:
  std::vector<TaskPair> pairs_;
  const std::string flow_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_BATCHING_TASK_H_
