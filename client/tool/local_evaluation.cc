#include "client/tool/local_evaluation.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "proto/wire/pair.h"
#include "server/lanes/cpu_kernel.h"
#include "server/lanes/evaluate.h"
#include "server/lanes/lane.h"
#include "server/numerics/float_control.h"
#include "server/numerics/reduce.h"

namespace kldiv::tool {
namespace {

// What a thread takes at a time: large against taking it, small against what the last one leaves the others
// idle.
constexpr int64_t kTilesAtATime = 64;

wire::Slice ToSlice(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

// Evaluates all tiles of `pair`, on this thread and others.
void EvaluateTiles(const server::LanePair& pair, int64_t tiles, int threads) {
  std::atomic<int64_t> next = 0;
  const auto work = [&] {
    numerics::ResetFloatControl();
    for (int64_t first = 0; (first = next.fetch_add(kTilesAtATime)) < tiles;) {
      server::EvaluatePiece({&pair, first, std::min(kTilesAtATime, tiles - first)});
    }
  };
  const int64_t useful = std::min<int64_t>(threads, (tiles + kTilesAtATime - 1) / kTilesAtATime);
  std::vector<std::thread> others;
  for (int64_t i = 1; i < useful; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
}

// A pair in memory as a lane wants to see it. Not to be copied: it refers to itself.
struct View {
  explicit View(const LocalPair& local)
      : slices{ToSlice(local.input), ToSlice(local.target)},
        pair{.formula = local.formula,
             .elements = local.elements,
             .input = {&slices[0], 0, slices[0].size()},
             .target = {&slices[1], 0, slices[1].size()}} {}
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  wire::Slice slices[2];
  wire::Pair pair;
};

}  // namespace

LocalPair ToLocal(const Pair& pair, int64_t elements) {
  return {.formula = {.input = static_cast<numerics::DType>(pair.input.dtype),
                      .target = static_cast<numerics::DType>(pair.target.dtype),
                      .log_target = pair.log_target,
                      .skip_zero_target = pair.zero_target == ZeroTarget::kSkip},
          .elements = elements,
          .input = pair.input.data,
          .target = pair.target.data};
}

double Reduce(double sum, const Pair& pair, int64_t elements) {
  switch (pair.reduction) {
    case Reduction::kMean:
      return numerics::Divide(sum, elements);
    case Reduction::kBatchMean:
      return pair.input.shape.empty() ? sum : numerics::Divide(sum, pair.input.shape[0]);
    case Reduction::kSum:
    case Reduction::kNone:
      break;
  }
  return sum;
}

double SumLosses(const LocalPair& local, int threads) {
  const View view(local);
  const int64_t tiles = numerics::TileCount(local.elements);
  std::vector<double> sums(static_cast<size_t>(tiles));
  EvaluateTiles({.pair = &view.pair, .tile_sums = sums.data()}, tiles, threads);
  numerics::ResetFloatControl();
  return cpu_kernel::Fold(sums.data(), tiles);
}

void ComputeLosses(const LocalPair& local, int threads, std::span<std::byte> losses) {
  const View view(local);
  EvaluateTiles({.pair = &view.pair, .pointwise = reinterpret_cast<uint8_t*>(losses.data())},
                numerics::TileCount(local.elements), threads);
}

}  // namespace kldiv::tool
