#include "server/batching/batcher.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <limits>
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

// A copy that shares nothing: the references to a shared status are counted inside the distribution's Abseil,
// which ThreadSanitizer does not see into.
absl::Status Copy(const absl::Status& status) { return absl::Status(status.code(), status.message()); }

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
  assert(queue_.waiting_pairs() == 0 && queue_.set_aside_pieces() == 0);
}

void Batcher::Enqueue(std::unique_ptr<Task> task) {
  task->Begin(Clock::now());
  WakeUps lanes;
  {
    MutexLock lock(mu_);
    assert(!closed_);
    enqueued_pairs_ += static_cast<int64_t>(task->pairs().size());
    queue_.Push(*task.release());
    lanes = LanesToWake();
  }
  Wake(lanes);
}

void Batcher::AddLanes(LaneKind kind, int count) {
  MutexLock lock(mu_);
  GroupOf(kind).lanes += count;
}

BatchQueue::Demand Batcher::Effective(const BatchQueue::Demand& demand) const {
  BatchQueue::Demand effective = demand;
  effective.lanes = std::max(demand.lanes, cpu_.lanes + cuda_.lanes);
  if (cpu_.lanes == 0) effective.min_elements = 0;  // nobody else would take it
  return effective;
}

// A batch on a device may come back for CPU lanes.
bool Batcher::Finished(LaneKind kind) const {
  return closed_ && (kind == LaneKind::kCuda || cpu_.lanes == 0 || cuda_under_way_ == 0);
}

bool Batcher::NextBatch(const BatchQueue::Demand& demand, Batch& batch, const Lane* lane) {
  assert(batch.pieces.empty() && batch.dropped.empty());
  while (batch.pieces.empty()) {
    WakeUps lanes;
    {
      MutexLock lock(mu_);
      Group& group = GroupOf(demand.kind);
      if (demand.kind == LaneKind::kCuda) cuda_min_elements_ = demand.min_elements;
      for (;;) {
        if (lane != nullptr && !lane->InService()) return false;
        if (queue_.HasWork(demand.kind, Effective(demand).min_elements)) break;
        if (Finished(demand.kind)) return false;
        ++group.idle;
        WorkOf(demand.kind).Wait(mu_);
        --group.idle;
        group.waking = std::max(0, group.waking - 1);
      }
      queue_.Take(Effective(demand), Clock::now(), batch);
      if (!batch.pieces.empty()) {
        ++group.batches;
        if (demand.kind == LaneKind::kCuda) ++cuda_under_way_;
      }
      lanes = LanesToWake();
    }
    Wake(lanes);
    FinishDropped(batch);
  }
  return true;
}

bool Batcher::RemoveLostLane(LaneKind kind) {
  WakeUps lanes;
  bool last = false;
  {
    MutexLock lock(mu_);
    --GroupOf(kind).lanes;
    last = cpu_.lanes + cuda_.lanes == 0;
    lanes = LanesToWake();  // it may have been woken for work that it does not take
  }
  WorkOf(kind).NotifyAll();
  Wake(lanes);
  return last;
}

void Batcher::FailUntilClosed(LaneKind kind) {
  const BatchQueue::Demand everything{kind, std::numeric_limits<int64_t>::max()};
  Batch batch;
  while (NextBatch(everything, batch)) {
    absl::Status fault;
    {
      MutexLock lock(mu_);
      fault = Copy(last_fault_);
    }
    Complete(batch, fault.ok() ? absl::UnavailableError("no device is left in service") : fault);
  }
}

bool Batcher::SetAside(const Batch& batch, const absl::Status& status) {
  if (batch.kind == LaneKind::kCpu && status.ok()) return false;
  WakeUps lanes;
  bool retry = false;
  bool closed = false;
  {
    MutexLock lock(mu_);
    if (batch.kind == LaneKind::kCuda) --cuda_under_way_;
    if (!status.ok()) {
      ++failed_batches_;
      last_fault_ = Copy(status);
      retry = batch.kind == LaneKind::kCuda && cpu_.lanes > 0;
    }
    if (retry) {
      ++retried_batches_;
      queue_.SetAside(batch);
    }
    lanes = LanesToWake();
    closed = closed_;
  }
  if (closed) cpu_work_.NotifyAll();  // those that waited for it
  Wake(lanes);
  return retry;
}

void Batcher::Complete(Batch& batch, const absl::Status& status) {
  if (SetAside(batch, status)) {
    batch.Clear();
    return;
  }
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
  cpu_work_.NotifyAll();
  cuda_work_.NotifyAll();
}

Batcher::Counters Batcher::counters() const {
  Counters counters;
  counters.completed_pairs = completed_pairs_.load(kRelaxed);
  counters.expired_pairs = expired_pairs_.load(kRelaxed);
  counters.cancelled_pairs = cancelled_pairs_.load(kRelaxed);
  counters.failed_pairs = failed_pairs_.load(kRelaxed);
  MutexLock lock(mu_);
  counters.enqueued_pairs = enqueued_pairs_;
  counters.batches = cpu_.batches + cuda_.batches;
  counters.cuda_batches = cuda_.batches;
  counters.failed_batches = failed_batches_;
  counters.retried_batches = retried_batches_;
  counters.cpu_lanes = cpu_.lanes;
  counters.cuda_lanes = cuda_.lanes;
  counters.waiting_pairs = queue_.waiting_pairs() + queue_.set_aside_pieces();
  counters.waiting_bytes = queue_.waiting_bytes() + queue_.set_aside_bytes();
  counters.idle_lanes = cpu_.idle + cuda_.idle;
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

// Devices first: they ask for a least amount, so what they may take is worth their while.
Batcher::WakeUps Batcher::LanesToWake() {
  WakeUps lanes;
  const int64_t bytes = queue_.waiting_bytes() + queue_.set_aside_bytes();
  int64_t shares = 1 + bytes / BatchQueue::kMinShareBytes;
  const int64_t min_elements = cpu_.lanes == 0 ? 0 : cuda_min_elements_;
  if (queue_.HasWork(LaneKind::kCuda, min_elements)) {
    lanes.cuda = LanesToWake(shares, cuda_);
    shares = std::max<int64_t>(queue_.set_aside_bytes() > 0 ? 1 : 0, shares - cuda_.waking);
  }
  if (queue_.HasWork(LaneKind::kCpu)) lanes.cpu = LanesToWake(shares, cpu_);
  return lanes;
}

// More lanes than shares would find nothing. One that is on its way counts; each wakes more when it leaves
// work behind.
int Batcher::LanesToWake(int64_t shares, Group& group) {
  const int lanes = static_cast<int>(std::min<int64_t>(group.idle, shares)) - group.waking;
  if (lanes <= 0) return 0;
  group.waking += lanes;
  return lanes;
}

void Batcher::Wake(const WakeUps& lanes) {
  for (int i = 0; i < lanes.cuda; ++i) cuda_work_.NotifyOne();
  for (int i = 0; i < lanes.cpu; ++i) cpu_work_.NotifyOne();
}

}  // namespace kldiv::server
