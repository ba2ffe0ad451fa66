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
// Thread-safe. Outlives the lanes that pull from it.
class Batcher {
 public:
  struct Counters {
    int64_t enqueued_pairs = 0;
    int64_t completed_pairs = 0;  // with any outcome, of tasks that are done
    int64_t expired_pairs = 0;    // not computed to the end: the deadline had passed
    int64_t cancelled_pairs = 0;  // not computed to the end: cancelled
    int64_t failed_pairs = 0;     // device faults
    int64_t batches = 0;
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

  // Waits for work for a lane that asks for `demand` and puts its next batch into `batch`, which is new or
  // has been through Complete. Tasks that end without being computed are done on the way.
  //
  // False: closed and empty, the lane may go.
  bool NextBatch(const BatchQueue::Demand& demand, Batch& batch);

  // Ends a batch with what Lane::Run answered, and leaves it empty.
  void Complete(Batch& batch, const absl::Status& status);

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

  int LanesToWake() KLDIV_REQUIRES(mu_);
  void Wake(int lanes);

  mutable Mutex mu_;
  CondVar work_;
  BatchQueue queue_ KLDIV_GUARDED_BY(mu_);
  bool closed_ KLDIV_GUARDED_BY(mu_) = false;
  int idle_lanes_ KLDIV_GUARDED_BY(mu_) = 0;    // inside NextBatch, with nothing to do
  int waking_lanes_ KLDIV_GUARDED_BY(mu_) = 0;  // of these, notified
  int64_t enqueued_pairs_ KLDIV_GUARDED_BY(mu_) = 0;
  int64_t batches_ KLDIV_GUARDED_BY(mu_) = 0;

  std::atomic<int64_t> completed_pairs_ = 0;
  std::atomic<int64_t> expired_pairs_ = 0;
  std::atomic<int64_t> cancelled_pairs_ = 0;
  std::atomic<int64_t> failed_pairs_ = 0;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_BATCHING_BATCHER_H_
