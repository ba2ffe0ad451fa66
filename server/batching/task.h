#ifndef KLDIV_SERVER_BATCHING_TASK_H_
#define KLDIV_SERVER_BATCHING_TASK_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "absl/container/fixed_array.h"
#include "absl/status/status.h"
#include "proto/wire/pair.h"
#include "server/lanes/lane.h"
#include "server/numerics/formula.h"

namespace kldiv::server {

using Clock = std::chrono::steady_clock;

// One pair of a task, from admission to its result.
struct TaskPair {
  // Set by the task's maker: `lane.pair` and, for `none`, `lane.pointwise`. Its tile sums are the batcher's.
  LanePair lane;
  Clock::time_point deadline = Clock::time_point::max();  // from this moment on it is not computed

  // Results, valid when the task is done.
  absl::Status status;      // DEADLINE_EXCEEDED or CANCELLED: not computed; otherwise the device's fault
  double sum = 0;           // NaN canonical, not yet divided; meaningless for `none`
  int64_t queue_ns = 0;     // from Enqueue to the start of computing, or to being dropped
  int64_t compute_ns = 0;   // of the batch that held its last piece
  int32_t batch_pairs = 0;  // pairs in that batch; 0: it was in none (dropped, or without elements)

  // The batcher's own.
  int32_t next_tile = 0;                // the first that no batch has taken yet
  std::atomic<int32_t> tiles_left = 0;  // neither evaluated nor dropped
  std::atomic<bool> failed = false;     // somebody has set `status`
};

// Bytes of a full tile of both tensors.
constexpr int64_t TileBytes(const wire::Pair& pair) {
  return numerics::kTileElements * (ElementSize(pair.formula.input) + ElementSize(pair.formula.target));
}

// How much work something is.
struct Amount {
  int64_t elements = 0;
  int64_t bytes = 0;  // of both tensors

  Amount& operator+=(const Amount& other) {
    elements += other.elements;
    bytes += other.bytes;
    return *this;
  }
  Amount& operator-=(const Amount& other) {
    elements -= other.elements;
    bytes -= other.bytes;
    return *this;
  }
};

// The tiles that no batch has taken.
inline Amount WaitingAmount(const TaskPair& pair) {
  const wire::Pair& tensors = *pair.lane.pair;
  const int64_t elements = tensors.elements - pair.next_tile * numerics::kTileElements;
  return {elements, elements * (ElementSize(tensors.formula.input) + ElementSize(tensors.formula.target))};
}

// The pairs of one message on their way through the lanes: the unit that completes.
//
// A task has one owner at a time. Its maker fills it and hands it to the batcher, which hands it to Done.
class Task {
 public:
  // `pairs` pairs, at least 1, to be filled by the caller. `flow` names whose it is: flows share the lanes
  // evenly, by bytes.
  Task(size_t pairs, std::string flow) : flow_(std::move(flow)), pairs_(pairs) {}
  virtual ~Task() = default;

  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  std::span<TaskPair> pairs() { return {pairs_.data(), pairs_.size()}; }
  const std::string& flow() const { return flow_; }

  // Nobody waits for the answer any more: what has not begun is not computed. Any thread, any time before
  // Done.
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  // For the batcher, before the task waits, with no lock held: makes room for tile sums and counts what is
  // left.
  void Begin(Clock::time_point now);

  // All pairs have their results. Called exactly once, on a lane's thread, with no lock held; owns itself
  // from here on.
  virtual void Done(std::unique_ptr<Task> self) = 0;

 private:
  friend class Batcher;
  friend class BatchQueue;

  const std::string flow_;
  absl::FixedArray<TaskPair, 1> pairs_;
  std::atomic<bool> cancelled_ = false;

  // The batcher's own, from Enqueue to Done.
  Clock::time_point begun_at_;
  std::unique_ptr<double[]> tile_sums_;  // of all pairs that have more than one tile
  std::atomic<size_t> pairs_left_ = 0;   // not yet completed

  // The queue's own, while a pair of the task waits.
  Task* next_ = nullptr;  // of the same flow
  size_t next_pair_ = 0;  // the first of which some tile waits
  Amount waiting_;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_BATCHING_TASK_H_
