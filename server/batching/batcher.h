#ifndef KLDIV_SERVER_BATCHING_BATCHER_H_
#define KLDIV_SERVER_BATCHING_BATCHER_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "server/base/mutex.h"
#include "server/batching/batch_queue.h"
#include "server/batching/task.h"
#include "server/lanes/lane.h"

namespace kldiv::server {

// Where tasks wait and lanes pull: the locked shell around the queue's policy (batch_queue.h).
//
// A lane asks for the next batch when it is free; while every lane is busy, what waits grows. There is no
// timer and no delay. Flows take turns by bytes; a pair larger than a batch is cut at tile boundaries, its
// tile sums folded once, in order. Every task that was enqueued is done exactly once, by Task::Done.
//
// CPU and CUDA lanes pull from the same queue. While CPU lanes serve, a CUDA lane is given nothing below the
// least amount that it asks for, and what fails on a device is evaluated by a CPU lane instead.
//
// Thread-safe. Outlives the lanes that pull from it.
class Batcher {
 public:
  struct Counters {
    int64_t enqueued_pairs = 0;
    int64_t completed_pairs = 0;  // with any outcome, of tasks that are done
    int64_t expired_pairs = 0;    // not computed to the end: the deadline had passed
    int64_t cancelled_pairs = 0;  // not computed to the end: cancelled
    int64_t failed_pairs = 0;     // device faults that were answered
    int64_t batches = 0;
    int64_t cuda_batches = 0;     // of these, on a device
    int64_t failed_batches = 0;   // of all, with a device's fault
    int64_t retried_batches = 0;  // of these, evaluated again by CPU lanes
    int cpu_lanes = 0;            // in service
    int cuda_lanes = 0;           // in service
    int64_t waiting_pairs = 0;
    int64_t waiting_bytes = 0;
    int idle_lanes = 0;  // that wait for work
  };

  Batcher() = default;
  ~Batcher();  // After Close, with nothing left.

  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // Takes the task over. Never blocks on work. Not after Close.
  void Enqueue(std::unique_ptr<Task> task);

  // `count` lanes are about to pull.
  void AddLanes(LaneKind kind, int count);

  // Waits for work for a lane that asks for `demand` and puts its next batch into `batch`, which is new or
  // has been through Complete. Tasks that end without being computed are done on the way.
  //
  // False: the lane may go. Either the batcher is closed and has nothing for it, or the lane, if it is named,
  // is not in service any more.
  bool NextBatch(const BatchQueue::Demand& demand, Batch& batch, const Lane* lane = nullptr);

  // Ends a batch with what Lane::Run answered, and leaves it empty. What failed on a device is evaluated
  // again by CPU lanes where there are any; otherwise its pairs get the status.
  void Complete(Batch& batch, const absl::Status& status);

  // A lane has left service because its device is lost. Lanes of its kind that wait look whether they are
  // still in service. True: it was the last lane of all.
  bool RemoveLostLane(LaneKind kind);

  // With no lane left: answers all that waits and all that comes, until Close, with the last fault of a
  // device.
  void FailUntilClosed(LaneKind kind);

  // Nothing comes any more: what waits is still handed out, then NextBatch answers false.
  void Close();

  Counters counters() const;

 private:
  // Called with no lock held.
  void FinishDropped(Batch& batch);
  // True: the pair is finished.
  bool FinishDroppedPair(const Task& task, TaskPair& pair, Batch::Dropped::Reason reason,
                         Clock::time_point now);
  // `pairs` pairs of the task have been finished.
  void FinishPairs(Task& task, size_t pairs);

  // The lanes of a kind.
  struct Group {
    int lanes = 0;   // in service
    int idle = 0;    // inside NextBatch, with nothing to do
    int waking = 0;  // of these, notified
    int64_t batches = 0;
  };
  struct WakeUps {
    int cuda = 0;
    int cpu = 0;
  };

  Group& GroupOf(LaneKind kind) KLDIV_REQUIRES(mu_) { return kind == LaneKind::kCuda ? cuda_ : cpu_; }
  CondVar& WorkOf(LaneKind kind) { return kind == LaneKind::kCuda ? cuda_work_ : cpu_work_; }
  // The demand as it counts today.
  BatchQueue::Demand Effective(const BatchQueue::Demand& demand) const KLDIV_REQUIRES(mu_);
  // May the lanes of this kind go?
  bool Finished(LaneKind kind) const KLDIV_REQUIRES(mu_);
  // After a run: sets a batch that failed aside, if somebody else can evaluate it.
  bool SetAside(const Batch& batch, const absl::Status& status);

  WakeUps LanesToWake() KLDIV_REQUIRES(mu_);
  static int LanesToWake(int64_t shares, Group& group);
  void Wake(const WakeUps& lanes);

  mutable Mutex mu_;
  CondVar cpu_work_;
  CondVar cuda_work_;
  BatchQueue queue_ KLDIV_GUARDED_BY(mu_);
  bool closed_ KLDIV_GUARDED_BY(mu_) = false;
  Group cpu_ KLDIV_GUARDED_BY(mu_);
  Group cuda_ KLDIV_GUARDED_BY(mu_);
  int64_t cuda_min_elements_ KLDIV_GUARDED_BY(mu_) = 0;  // as CUDA lanes ask
  int cuda_under_way_ KLDIV_GUARDED_BY(mu_) = 0;         // batches
  int64_t failed_batches_ KLDIV_GUARDED_BY(mu_) = 0;
  int64_t retried_batches_ KLDIV_GUARDED_BY(mu_) = 0;
  absl::Status last_fault_ KLDIV_GUARDED_BY(mu_);
  int64_t enqueued_pairs_ KLDIV_GUARDED_BY(mu_) = 0;

  std::atomic<int64_t> completed_pairs_ = 0;
  std::atomic<int64_t> expired_pairs_ = 0;
  std::atomic<int64_t> cancelled_pairs_ = 0;
  std::atomic<int64_t> failed_pairs_ = 0;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_BATCHING_BATCHER_H_
