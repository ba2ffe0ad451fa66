#ifndef KLDIV_SERVER_BATCHING_BATCH_QUEUE_H_
#define KLDIV_SERVER_BATCHING_BATCH_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/batching/task.h"
#include "server/lanes/lane.h"

namespace kldiv::server {

// Work for one run of a lane, and what left the queue on the way to it without being computed.
struct Batch {
  // Whose a piece is.
  struct Part {
    Task* task;
    TaskPair* pair;
  };

  // Consecutive pairs of a task. Of the first, other lanes may still have pieces.
  struct Dropped {
    enum class Reason : uint8_t { kEmpty, kExpired, kCancelled };

    Task* task;
    size_t first_pair;
    size_t pairs;
    Reason reason;
  };

  LaneKind kind = LaneKind::kCpu;  // of the lane that it is for
  std::vector<Piece> pieces;       // each of another pair, unless they were set aside
  std::vector<Part> parts;         // one for each piece
  int64_t bytes = 0;               // of the pieces' tensors
  Clock::time_point started_at;
  std::vector<Dropped> dropped;

  // Back to an empty batch that keeps its memory.
  void Clear();
};

// Which work leaves next, and how much of it: the batcher's policy. No thread, no lock, no clock.
//
// Flows take turns: the one that has been given the fewest bytes goes next, and one that was away gets no
// credit for it. Within a flow, pairs leave in order. A pair that does not fit into a batch is cut at a tile
// boundary, not into slivers.
//
// A device may ask for a least amount of work: less is set aside, as is what a device could not evaluate.
// Both are for CPU lanes alone and the next to leave.
//
// Owns no task: a task is referred to until its last waiting tile has been taken or dropped. Not thread-safe.
class BatchQueue {
 public:
  // A batch is never held below this by its share: it is enough for a lane to be worth its hand-over.
  static constexpr int64_t kMinShareBytes = int64_t{1} << 20;
  // The least that a cut leaves on either side, unless batches are hardly larger than that.
  static constexpr int64_t kMinPieceBytes = int64_t{256} << 10;
  // Pairs looked at for one batch, which bounds the time that it takes to make one. A device pays for many
  // small pairs once.
  static constexpr size_t kMaxPairs = 512;
  static constexpr size_t kMaxPairsOnDevice = 4096;

  // What a lane asks for.
  struct Demand {
    LaneKind kind = LaneKind::kCpu;
    int64_t max_bytes = 0;  // of a batch, which holds at least one tile all the same
    int lanes = 1;          // that work at the queue; each takes its share of what waits
    // Of a CUDA lane: it takes nothing while fewer elements wait, and no batch with fewer,
    // or with fewer than surely fit into one.
    int64_t min_elements = 0;
  };

  BatchQueue() = default;
  BatchQueue(const BatchQueue&) = delete;
  BatchQueue& operator=(const BatchQueue&) = delete;

  // Adds a task that has just begun.
  void Push(Task& task);

  // Is there something to Take for a lane of this kind that asks for so many elements?
  bool HasWork(LaneKind kind, int64_t min_elements = 0) const;

  // Fills `batch`, which is empty, with what a lane should evaluate now, and tells the start of computing
  // to pairs of which it is the first piece. Pairs that should not be computed are reported beside it; when
  // there are many, they may be all that is in it.
  //
  // A pair is dropped when its task was cancelled, when its deadline has come or when it has no elements.
  // A batch mixes flows unless a large piece would make the small ones wait. One with fewer elements than
  // the demand's least is set aside, and nothing may be in it.
  void Take(const Demand& demand, Clock::time_point now, Batch& batch);

  // Sets the pieces of a batch aside for CPU lanes.
  void SetAside(const Batch& batch);

  int64_t set_aside_pieces() const { return static_cast<int64_t>(set_aside_.size()); }
  int64_t set_aside_bytes() const { return set_aside_bytes_; }  // of tensors
  int64_t waiting_pairs() const { return waiting_pairs_; }      // of which some tile waits
  int64_t waiting_bytes() const { return waiting_.bytes; }      // of tensors

 private:
  struct Flow {
    const std::string* name = nullptr;  // the key of its entry
    Task* first = nullptr;              // null: nothing waits; it goes when its turn comes
    Task* last = nullptr;
    int64_t given = 0;  // bytes, on top of the level at which it joined
    uint64_t turn = 0;  // its last one, or its joining; among equals, the one that waits longest is next
  };
  struct PieceSetAside {
    Piece piece;
    Batch::Part part;
  };
  class Taking;

  // Fills the batch with pieces that were set aside.
  void TakeSetAside(const Demand& demand, Batch& batch);
  // Orders the schedule, a heap: the flow whose turn is next on top.
  static bool Later(const Flow* a, const Flow* b);
  void Schedule(Flow& flow);
  Flow& PopFlow();
  // The flow whose turn is next, taken off the schedule. Something waits.
  Flow& NextFlow();
  // Of a flow off the schedule with nothing waiting: it starts anew when it comes back.
  void Forget(const Flow& flow);
  // Takes from the flow until its turn is over or the batch is full.
  void TakeTurn(Flow& flow, Taking& taking);
  void DropPairs(Flow& flow, size_t pairs, Batch::Dropped::Reason reason, Batch& batch);
  void TakePiece(Flow& flow, int64_t tiles, Taking& taking);
  // Moves the first task of the flow past `pairs` pairs and `amount`.
  void Advance(Flow& flow, size_t pairs, const Amount& amount);

  std::unordered_map<std::string, Flow> flows_;
  std::vector<Flow*> schedule_;  // a heap of all flows
  int64_t level_ = 0;            // `given` of the flow that had the last turn, before it; no flow is below
  uint64_t turns_ = 0;
  int64_t waiting_pairs_ = 0;
  Amount waiting_;
  std::deque<PieceSetAside> set_aside_;
  int64_t set_aside_bytes_ = 0;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_BATCHING_BATCH_QUEUE_H_
