#include "server/batching/batcher.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <utility>

#include "proto/wire/decode.h"
#include "server/batching/admission.h"
#include "server/lanes/cpu_kernel.h"
#include "server/numerics/formula.h"

namespace kldiv::server {
namespace {

using Reason = Batch::Dropped::Reason;

static_assert(sizeof(TaskPair) + sizeof(wire::PairRequest) <= kPairBytes,
              "admission charges less than a pair takes");

constexpr auto kRelaxed = std::memory_order_relaxed;

int64_t Nanoseconds(Clock::duration duration) { return std::chrono::nanoseconds(duration).count(); }

// Gives the pair a status and counts it, unless it has one: the first fault counts.
void Fail(TaskPair& pair, absl::StatusCode code, absl::string_view message, std::atomic<int64_t>& counter) {
  if (pair.failed.exchange(true, kRelaxed)) return;
  pair.status = absl::Status(code, message);
  counter.fetch_add(1, kRelaxed);
}

// Takes `tiles` off what is left of the pair. True for whoever takes the last ones, and only then may the
// pair be looked at: everybody's results are in place.
bool TakeOff(TaskPair& pair, int64_t tiles) {
  const auto count = static_cast<int32_t>(tiles);
  return pair.tiles_left.fetch_sub(count, std::memory_order_acq_rel) == count;
}

// The last tile is in: the pair gets its sum.
void FinishPair(TaskPair& pair) {
  if (pair.failed.load(kRelaxed) || pair.lane.pointwise != nullptr) return;
  pair.sum = cpu_kernel::Fold(pair.lane.tile_sums, numerics::TileCount(pair.lane.pair->elements));
}

}  // namespace

Batcher::~Batcher() {
  assert(closed_);
  assert(queue_.waiting_pairs() == 0);
}

void Batcher::Enqueue(std::unique_ptr<Task> task) {
  task->Begin(Clock::now());
  int lanes = 0;
  {
    MutexLock lock(mu_);
    assert(!closed_);
    enqueued_pairs_ += static_cast<int64_t>(task->pairs().size());
    queue_.Push(*task.release());
    lanes = LanesToWake();
  }
  Wake(lanes);
}

bool Batcher::NextBatch(const BatchQueue::Demand& demand, Batch& batch) {
  assert(batch.pieces.empty() && batch.dropped.empty());
  while (batch.pieces.empty()) {
    int lanes = 0;
    {
      MutexLock lock(mu_);
      while (!queue_.HasWork(demand.kind)) {
        if (closed_) return false;
        ++idle_lanes_;
        work_.Wait(mu_);
        --idle_lanes_;
        waking_lanes_ = std::max(0, waking_lanes_ - 1);
      }
      queue_.Take(demand, Clock::now(), batch);
      if (!batch.pieces.empty()) ++batches_;
      lanes = LanesToWake();
    }
    Wake(lanes);
    FinishDropped(batch);
  }
  return true;
}

void Batcher::Complete(Batch& batch, const absl::Status& status) {
  const int64_t compute_ns = Nanoseconds(Clock::now() - batch.started_at);
  const auto batch_pairs = static_cast<int32_t>(batch.parts.size());
  size_t finished = 0;  // pairs of the task at hand
  for (size_t i = 0; i < batch.parts.size(); ++i) {
    const auto [task, pair] = batch.parts[i];
    if (!status.ok()) Fail(*pair, status.code(), status.message(), failed_pairs_);
    if (TakeOff(*pair, batch.pieces[i].tile_count)) {
      pair->compute_ns = compute_ns;
      pair->batch_pairs = batch_pairs;
      FinishPair(*pair);
      ++finished;
    }
    if (finished > 0 && (i + 1 == batch.parts.size() || batch.parts[i + 1].task != task)) {
      FinishPairs(*task, finished);
      finished = 0;
    }
  }
  batch.Clear();
}

void Batcher::Close() {
  {
    MutexLock lock(mu_);
    closed_ = true;
  }
  work_.NotifyAll();
}

Batcher::Counters Batcher::counters() const {
  Counters counters;
  counters.completed_pairs = completed_pairs_.load(kRelaxed);
  counters.expired_pairs = expired_pairs_.load(kRelaxed);
  counters.cancelled_pairs = cancelled_pairs_.load(kRelaxed);
  counters.failed_pairs = failed_pairs_.load(kRelaxed);
  MutexLock lock(mu_);
  counters.enqueued_pairs = enqueued_pairs_;
  counters.batches = batches_;
  counters.waiting_pairs = queue_.waiting_pairs();
  counters.waiting_bytes = queue_.waiting_bytes();
  counters.idle_lanes = idle_lanes_;
  return counters;
}

void Batcher::FinishDropped(Batch& batch) {
  for (const Batch::Dropped& dropped : batch.dropped) {
    size_t finished = 0;
    for (TaskPair& pair : dropped.task->pairs().subspan(dropped.first_pair, dropped.pairs)) {
      if (FinishDroppedPair(*dropped.task, pair, dropped.reason, batch.started_at)) ++finished;
    }
    if (finished > 0) FinishPairs(*dropped.task, finished);
  }
  batch.dropped.clear();
}

bool Batcher::FinishDroppedPair(const Task& task, TaskPair& pair, Reason reason, Clock::time_point now) {
  if (pair.next_tile == 0) pair.queue_ns = Nanoseconds(now - task.begun_at_);
  if (reason == Reason::kExpired) {
    Fail(pair, absl::StatusCode::kDeadlineExceeded, "the deadline passed in the queue: not computed",
         expired_pairs_);
  } else if (reason == Reason::kCancelled) {
    Fail(pair, absl::StatusCode::kCancelled, "cancelled in the queue: not computed", cancelled_pairs_);
  }
  // Other lanes may still be evaluating pieces of it: then it is finished when the last of them is back.
  if (!TakeOff(pair, numerics::TileCount(pair.lane.pair->elements) - pair.next_tile)) return false;
  FinishPair(pair);
  return true;
}

void Batcher::FinishPairs(Task& task, size_t pairs) {
  if (task.pairs_left_.fetch_sub(pairs, std::memory_order_acq_rel) != pairs) return;
  completed_pairs_.fetch_add(static_cast<int64_t>(task.pairs().size()), kRelaxed);
  task.tile_sums_.reset();
  task.Done(std::unique_ptr<Task>(&task));
}

int Batcher::LanesToWake() {
  if (queue_.waiting_pairs() == 0) return 0;
  // More lanes than shares would find nothing. One that is on its way counts; each wakes more when it leaves
  // work behind.
  const int64_t shares = 1 + queue_.waiting_bytes() / BatchQueue::kMinShareBytes;
  const int lanes = static_cast<int>(std::min<int64_t>(idle_lanes_, shares)) - waking_lanes_;
  if (lanes <= 0) return 0;
  waking_lanes_ += lanes;
  return lanes;
}

void Batcher::Wake(int lanes) {
  for (; lanes > 0; --lanes) work_.NotifyOne();
}

}  // namespace kldiv::server
