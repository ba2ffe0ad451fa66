#include "server/batching/task.h"

#include <cassert>

namespace kldiv::server {

using numerics::TileCount;

void Task::Begin(Clock::time_point now) {
  assert(!pairs_.empty());
  begun_at_ = now;
  pairs_left_ = pairs_.size();
  int64_t stored_sums = 0;
  for (TaskPair& pair : pairs_) {
    const int64_t tiles = TileCount(pair.lane.pair->elements);
    pair.tiles_left = static_cast<int32_t>(tiles);
    waiting_ += WaitingAmount(pair);
    if (pair.lane.pointwise == nullptr && tiles > 1) stored_sums += tiles;
  }
  if (stored_sums > 0)
    tile_sums_ = std::make_unique_for_overwrite<double[]>(static_cast<size_t>(stored_sums));
  double* next = tile_sums_.get();
  for (TaskPair& pair : pairs_) {
    if (pair.lane.pointwise != nullptr) continue;
    const int64_t tiles = TileCount(pair.lane.pair->elements);
    // The only tile's sum has its place already.
    pair.lane.tile_sums = tiles > 1 ? next : &pair.sum;
    if (tiles > 1) next += tiles;
  }
}

}  // namespace kldiv::server
