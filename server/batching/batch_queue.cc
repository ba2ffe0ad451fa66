#include "server/batching/batch_queue.h"

#include <algorithm>
#include <cassert>
#include <chrono>

#include "server/numerics/formula.h"

namespace kldiv::server {
namespace {

using numerics::kTileElements;
using numerics::TileCount;

// A flow's turn ends when it has been given this much: the cost of choosing a flow is spread over the pairs
// of a turn, and flows still mix within the smallest batch.
constexpr int64_t kTurnBytes = int64_t{64} << 10;

// What a pair costs beside its tensors, so that a flow of tiny pairs pays for its turns.
constexpr int64_t kPairOverheadBytes = 256;

// Flows without work whose share is remembered while nothing waits.
constexpr size_t kRememberedFlows = 1024;

// A piece that takes long enough for small pairs in its batch to be worth answering first.
constexpr int64_t kLargePieceBytes = BatchQueue::kMinShareBytes;

constexpr int64_t kMostBytesPerElement = 16;

int64_t PieceBytes(const Piece& piece) {
  const wire::Pair& tensors = *piece.pair->pair;
  const int64_t elements =
      std::min(piece.tile_count * kTileElements, tensors.elements - piece.first_tile * kTileElements);
  return elements * (ElementSize(tensors.formula.input) + ElementSize(tensors.formula.target));
}

// What a batch of any dtypes can hold.
int64_t LeastElements(const BatchQueue::Demand& demand) {
  return std::min(demand.min_elements, demand.max_bytes / kMostBytesPerElement);
}

// What a batch is filled to when so much waits.
int64_t ShareBytes(const BatchQueue::Demand& demand, int64_t waiting_bytes) {
  const int64_t share = (waiting_bytes + demand.lanes - 1) / demand.lanes;
  const int64_t least = LeastElements(demand) * kMostBytesPerElement;
  return std::min(demand.max_bytes, std::max({BatchQueue::kMinShareBytes, share, least}));
}

}  // namespace

void Batch::Clear() {
  pieces.clear();
  parts.clear();
  dropped.clear();
  bytes = 0;
}

// A batch in the making: how much more of which pair it may hold.
class BatchQueue::Taking {
 public:
  Taking(const Demand& demand, int64_t waiting_bytes, Clock::time_point now, Batch& batch)
      : now_(now),
        max_bytes_(demand.max_bytes),
        share_bytes_(ShareBytes(demand, waiting_bytes)),
        max_pairs_(demand.kind == LaneKind::kCuda ? kMaxPairsOnDevice : kMaxPairs),
        min_elements_(LeastElements(demand)),
        min_piece_bytes_(std::min(kMinPieceBytes, max_bytes_ / 4)),
        batch_(batch) {}

  Clock::time_point now() const { return now_; }
  Batch& batch() { return batch_; }

  // Nothing more goes in.
  bool full() const { return full_ || looked_at_ >= max_pairs_; }
  void Close() { full_ = true; }

  // Is what it holds too little for who asks?
  bool too_little() const { return elements_ < min_elements_; }
  // Empties it.
  void Reset() {
    batch_.pieces.clear();
    batch_.parts.clear();
    batch_.bytes = 0;
    elements_ = 0;
    flow_ = nullptr;
    mixed_ = false;
    has_large_piece_ = false;
  }

  // To be told of each pair that is taken or dropped.
  void CountPair() { ++looked_at_; }

  // How many tiles of a pair to take; 0: it begins the next batch.
  int64_t TilesOf(const TaskPair& pair) const;

  // May a piece of this flow share a lane's run with the batch's other pieces?
  bool Suits(const Flow& flow, int64_t piece_bytes) const;

  void Add(const Flow& flow, Task& task, TaskPair& pair, int64_t tiles, const Amount& piece);

 private:
  const Clock::time_point now_;
  const int64_t max_bytes_;
  const int64_t share_bytes_;
  const size_t max_pairs_;
  const int64_t min_elements_;
  const int64_t min_piece_bytes_;

  Batch& batch_;
  const Flow* flow_ = nullptr;  // whose the pieces are; the last one's when the batch is mixed
  bool mixed_ = false;
  bool has_large_piece_ = false;
  bool full_ = false;
  int64_t elements_ = 0;
  size_t looked_at_ = 0;
};

int64_t BatchQueue::Taking::TilesOf(const TaskPair& pair) const {
  const wire::Pair& tensors = *pair.lane.pair;
  const int64_t tile_bytes = TileBytes(tensors);
  const int64_t tiles = TileCount(tensors.elements) - pair.next_tile;
  const int64_t rest = WaitingAmount(pair).bytes;

  // The share is exceeded rather than a sliver left; the batch's own bound never.
  const int64_t room = std::min(share_bytes_ + min_piece_bytes_, max_bytes_) - batch_.bytes;
  if (rest <= room) return tiles;

  int64_t cut = std::min((share_bytes_ - batch_.bytes) / tile_bytes, tiles - 1);
  if (rest - cut * tile_bytes < min_piece_bytes_) cut = (rest - min_piece_bytes_) / tile_bytes;
  if (!batch_.pieces.empty()) return cut * tile_bytes < min_piece_bytes_ ? 0 : cut;
  return std::max<int64_t>(cut, 1);
}

bool BatchQueue::Taking::Suits(const Flow& flow, int64_t piece_bytes) const {
  if (batch_.pieces.empty() || (flow_ == &flow && !mixed_)) return true;
  return piece_bytes < kLargePieceBytes && !has_large_piece_;
}

void BatchQueue::Taking::Add(const Flow& flow, Task& task, TaskPair& pair, int64_t tiles,
                             const Amount& piece) {
  mixed_ = mixed_ || (flow_ != nullptr && flow_ != &flow);
  flow_ = &flow;
  has_large_piece_ = has_large_piece_ || piece.bytes >= kLargePieceBytes;
  batch_.pieces.push_back({&pair.lane, pair.next_tile, tiles});
  batch_.parts.push_back({&task, &pair});
  batch_.bytes += piece.bytes;
  elements_ += piece.elements;
}

void BatchQueue::Push(Task& task) {
  waiting_pairs_ += static_cast<int64_t>(task.pairs().size());
  waiting_ += task.waiting_;

  const auto [entry, is_new] = flows_.try_emplace(task.flow());
  Flow& flow = entry->second;
  if (is_new) {
    flow.name = &entry->first;
    flow.given = level_;
    flow.turn = ++turns_;
    Schedule(flow);
  }
  (flow.first == nullptr ? flow.first : flow.last->next_) = &task;
  flow.last = &task;
}

bool BatchQueue::HasWork(LaneKind kind, int64_t min_elements) const {
  if (kind == LaneKind::kCpu && !set_aside_.empty()) return true;
  return waiting_pairs_ > 0 && waiting_.elements >= min_elements;
}

void BatchQueue::Take(const Demand& demand, Clock::time_point now, Batch& batch) {
  assert(demand.max_bytes >= 1 && demand.lanes >= 1 && batch.pieces.empty());
  batch.started_at = now;
  batch.kind = demand.kind;
  if (demand.kind == LaneKind::kCpu && !set_aside_.empty()) {
    TakeSetAside(demand, batch);
    return;
  }
  Taking taking(demand, waiting_.bytes, now, batch);
  while (waiting_pairs_ > 0 && !taking.full()) {
    Flow& flow = NextFlow();
    const int64_t level = flow.given;
    TakeTurn(flow, taking);
    if (flow.given > level) {
      level_ = level;
      flow.turn = ++turns_;
    }
    Schedule(flow);
  }
  if (taking.too_little()) {
    SetAside(batch);
    taking.Reset();
  }
  // Who has just been given a large batch may be back before it is computed, so flows are remembered; but not
  // everybody who ever came.
  while (waiting_pairs_ == 0 && schedule_.size() > kRememberedFlows) Forget(PopFlow());
}

void BatchQueue::SetAside(const Batch& batch) {
  for (size_t i = 0; i < batch.pieces.size(); ++i) set_aside_.push_back({batch.pieces[i], batch.parts[i]});
  set_aside_bytes_ += batch.bytes;
}

// Pieces are cut to a thread's share: a device takes more at once.
void BatchQueue::TakeSetAside(const Demand& demand, Batch& batch) {
  const int64_t share = ShareBytes(demand, set_aside_bytes_);
  while (!set_aside_.empty() && batch.pieces.size() < kMaxPairs) {
    auto& [piece, part] = set_aside_.front();
    const int64_t tile_bytes = TileBytes(*part.pair->lane.pair);
    // The share is exceeded by less than a tile, the batch's own bound only by its first.
    const int64_t bound = std::min(share + tile_bytes - 1, demand.max_bytes) - batch.bytes;
    int64_t tiles = PieceBytes(piece) <= bound ? piece.tile_count : std::max<int64_t>(bound, 0) / tile_bytes;
    if (batch.pieces.empty()) tiles = std::max<int64_t>(tiles, 1);
    if (tiles == 0) return;
    batch.pieces.push_back({piece.pair, piece.first_tile, tiles});
    batch.parts.push_back(part);
    if (piece.first_tile == 0) {
      part.pair->queue_ns = std::chrono::nanoseconds(batch.started_at - part.task->begun_at_).count();
    }
    const int64_t bytes = PieceBytes(batch.pieces.back());
    batch.bytes += bytes;
    set_aside_bytes_ -= bytes;
    piece.first_tile += tiles;
    piece.tile_count -= tiles;
    if (piece.tile_count > 0) return;
    set_aside_.pop_front();
  }
}

bool BatchQueue::Later(const Flow* a, const Flow* b) {
  return a->given != b->given ? a->given > b->given : a->turn > b->turn;
}

void BatchQueue::Schedule(Flow& flow) {
  schedule_.push_back(&flow);
  std::push_heap(schedule_.begin(), schedule_.end(), Later);
}

BatchQueue::Flow& BatchQueue::PopFlow() {
  std::pop_heap(schedule_.begin(), schedule_.end(), Later);
  Flow& flow = *schedule_.back();
  schedule_.pop_back();
  return flow;
}

BatchQueue::Flow& BatchQueue::NextFlow() {
  for (;;) {
    Flow& flow = PopFlow();
    if (flow.first != nullptr) return flow;
    Forget(flow);  // The others have caught up with what it was given.
  }
}

void BatchQueue::Forget(const Flow& flow) {
  level_ = flow.given;
  flows_.erase(flows_.find(*flow.name));
}

void BatchQueue::TakeTurn(Flow& flow, Taking& taking) {
  using Reason = Batch::Dropped::Reason;
  const int64_t end = flow.given + kTurnBytes;
  while (flow.first != nullptr && flow.given < end && !taking.full()) {
    Task& task = *flow.first;
    TaskPair& pair = task.pairs()[task.next_pair_];
    if (task.cancelled()) {
      DropPairs(flow, task.pairs().size() - task.next_pair_, Reason::kCancelled, taking.batch());
      taking.CountPair();
    } else if (pair.deadline <= taking.now()) {
      DropPairs(flow, 1, Reason::kExpired, taking.batch());
      taking.CountPair();
    } else if (pair.lane.pair->elements == 0) {
      DropPairs(flow, 1, Reason::kEmpty, taking.batch());
      taking.CountPair();
    } else {
      TakePiece(flow, taking.TilesOf(pair), taking);
    }
  }
}

void BatchQueue::TakePiece(Flow& flow, int64_t tiles, Taking& taking) {
  Task& task = *flow.first;
  TaskPair& pair = task.pairs()[task.next_pair_];
  const wire::Pair& tensors = *pair.lane.pair;
  const bool last = pair.next_tile + tiles == TileCount(tensors.elements);
  const Amount piece = last ? WaitingAmount(pair) : Amount{tiles * kTileElements, tiles * TileBytes(tensors)};
  if (tiles == 0 || !taking.Suits(flow, piece.bytes)) {
    if (taking.too_little()) {
      SetAside(taking.batch());
      taking.Reset();
    } else {
      taking.Close();
    }
    return;
  }
  if (pair.next_tile == 0) {
    pair.queue_ns = std::chrono::nanoseconds(taking.now() - task.begun_at_).count();
  }
  taking.Add(flow, task, pair, tiles, piece);
  taking.CountPair();
  pair.next_tile += static_cast<int32_t>(tiles);
  flow.given += piece.bytes + kPairOverheadBytes;
  Advance(flow, last ? 1 : 0, piece);
  if (!last) taking.Close();  // Another piece of the same pair would only be another cut.
}

void BatchQueue::DropPairs(Flow& flow, size_t pairs, Batch::Dropped::Reason reason, Batch& batch) {
  Task& task = *flow.first;
  batch.dropped.push_back({&task, task.next_pair_, pairs, reason});
  const bool all = task.next_pair_ + pairs == task.pairs().size();
  const Amount amount = all ? task.waiting_ : WaitingAmount(task.pairs()[task.next_pair_]);
  flow.given += kPairOverheadBytes;
  Advance(flow, pairs, amount);
}

void BatchQueue::Advance(Flow& flow, size_t pairs, const Amount& amount) {
  Task& task = *flow.first;
  task.next_pair_ += pairs;
  task.waiting_ -= amount;
  waiting_pairs_ -= static_cast<int64_t>(pairs);
  waiting_ -= amount;
  if (task.next_pair_ == task.pairs().size()) flow.first = task.next_;
}

}  // namespace kldiv::server
