#include "server/lanes/evaluate.h"

#include <algorithm>
#include <memory>

#include "server/lanes/cpu_kernel.h"
#include "server/numerics/formula.h"

namespace kldiv::server {
namespace {

using numerics::kTileElements;
using numerics::TileCount;

// One tensor of a pair, read from some element on.
class TensorReader {
 public:
  TensorReader(const wire::ByteView& bytes, numerics::DType dtype, int64_t first_element)
      : element_size_(ElementSize(dtype)),
        cursor_(bytes, static_cast<size_t>(first_element) * element_size_) {}

  // Whole elements that lie together at the reader.
  int64_t Contiguous() { return static_cast<int64_t>(cursor_.Contiguous().size() / element_size_); }

  // The next `elements`, at most a tile, together, and moves on. Valid until the next call.
  const void* Read(int64_t elements) {
    const size_t bytes = static_cast<size_t>(elements) * element_size_;
    const wire::Slice here = cursor_.Contiguous();
    if (here.size() < bytes) {
      cursor_.Copy(bytes, gathered_);
      return gathered_;
    }
    cursor_.Skip(bytes);
    return here.data();
  }

 private:
  const size_t element_size_;
  wire::ByteCursor cursor_;
  alignas(64) uint8_t gathered_[kTileElements * 8];  // a tile that lies in several slices
};

// Calls `evaluate(input, target, elements)` for the `elements` from `first` on, in order, in runs of
// contiguous memory. `first` and the beginning of every run are multiples of a tile.
//
// Tiles that lie together in both tensors make one run. A tile that does not is a run of its own, and the
// tensor whose slices divide it is gathered first.
template <typename EvaluateRun>
void ForEachRun(const wire::Pair& pair, int64_t first, int64_t elements, const EvaluateRun& evaluate) {
  TensorReader input(pair.input, pair.formula.input, first);
  TensorReader target(pair.target, pair.formula.target, first);
  while (elements > 0) {
    int64_t run = std::min({input.Contiguous(), target.Contiguous(), elements});
    if (run < elements) run = std::max(run - run % kTileElements, std::min(kTileElements, elements));
    const void* const x = input.Read(run);
    evaluate(x, target.Read(run), run);
    elements -= run;
  }
}

void TileSums(const wire::Pair& pair, int64_t first, int64_t elements, double* sums) {
  ForEachRun(pair, first, elements, [&](const void* input, const void* target, int64_t run) {
    cpu_kernel::TileSums(pair.formula, input, target, run, sums);
    sums += TileCount(run);
  });
}

void Pointwise(const wire::Pair& pair, int64_t first, int64_t elements, uint8_t* out) {
  const int64_t element_size = ElementSize(pair.formula.output());
  out += first * element_size;
  ForEachRun(pair, first, elements, [&](const void* input, const void* target, int64_t run) {
    cpu_kernel::Pointwise(pair.formula, input, target, run, out);
    out += run * element_size;
  });
}

}  // namespace

void EvaluatePiece(const Piece& piece) {
  const wire::Pair& pair = *piece.pair->pair;
  const int64_t first = piece.first_tile * kTileElements;
  const int64_t elements = std::min(piece.tile_count * kTileElements, pair.elements - first);
  if (piece.pair->pointwise != nullptr) {
    Pointwise(pair, first, elements, piece.pair->pointwise);
  } else {
    TileSums(pair, first, elements, piece.pair->tile_sums + piece.first_tile);
  }
}

double EvaluateSum(const wire::Pair& pair) {
  constexpr int64_t kTilesOnStack = 64;
  const int64_t tiles = TileCount(pair.elements);
  double on_stack[kTilesOnStack];
  std::unique_ptr<double[]> on_heap;
  double* sums = on_stack;
  if (tiles > kTilesOnStack) {
    on_heap = std::make_unique_for_overwrite<double[]>(static_cast<size_t>(tiles));
    sums = on_heap.get();
  }
  TileSums(pair, 0, pair.elements, sums);
  return cpu_kernel::Fold(sums, tiles);
}

}  // namespace kldiv::server
