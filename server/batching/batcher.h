#ifndef KLDIV_SERVER_BATCHING_BATCHER_H_
#define KLDIV_SERVER_BATCHING_BATCHER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
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
    int64_t completed_pairs = 0;  // with any outcome
    int64_t expired_pairs = 0;    // not computed: the deadline had passed
    int64_t cancelled_pairs = 0;  // not computed: cancelled
    int64_t failed_pairs = 0;     // device faults
    int64_t batches = 0;
    int64_t waiting_pairs = 0;
    int64_t waiting_bytes = 0;
  };

  // Work for one run of a lane.
  struct Batch {
    std::vector<Piece> pieces;
    int64_t bytes = 0;  // of tensors
    int32_t pairs = 0;
    // The batcher's own.
    struct Part {
      Task* task;
      TaskPair* pair;
    };
    std::vector<Part> parts;  // one for each piece
    Clock::time_point started_at;
  };

  Batcher();
  ~Batcher();  // After Close, with nothing left.

  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // Takes the task over. Never blocks. Not after Close.
  void Enqueue(std::unique_ptr<Task> task);

  // The next batch of at most `max_bytes` (but at least one tile), for a lane of this kind; waits for one.
  // `lanes` lanes of this kind share what waits: a batch is no more than its share, so that a large pair
  // uses all of them. nullopt: closed and empty, the lane may go.
  std::optional<Batch> NextBatch(LaneKind kind, int64_t max_bytes, int lanes);

  // Ends a batch with what Lane::Run answered.
  void Complete(Batch batch, const absl::Status& status);

  // Nothing comes any more: what waits is still handed out, then NextBatch answers nullopt.
  void Close();

  Counters counters() const;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_BATCHING_BATCHER_H_
