#ifndef KLDIV_SERVER_CUDA_TILE_TABLE_H_
#define KLDIV_SERVER_CUDA_TILE_TABLE_H_

#include <cstdint>

#include "server/numerics/formula.h"

// What the kernel reads beside the tensors: one entry for each tile of a batch, whatever pair it belongs to.
// The host writes the table into the same buffer as the tensors, so that one copy brings both to the device.
namespace kldiv::cuda {

// Tensors in the staging buffer and pointwise losses in the result buffer begin at multiples of this. It
// holds four elements of every dtype: a tensor is followed by zeros up to the next multiple, so that a thread
// always reads four elements at once, and a pair of zeros has the loss +0 in every formula.
inline constexpr int64_t kUnitBytes = 32;

constexpr int64_t RoundUpToUnit(int64_t bytes) { return (bytes + kUnitBytes - 1) / kUnitBytes * kUnitBytes; }

// One tile: at most 1024 consecutive elements of a pair, the first of them at a multiple of 1024.
struct Tile {
  uint32_t input;   // where x begins in the staging buffer, in units: reaches 128 GiB
  uint32_t target;  // the same of t
  uint32_t output;  // with kPointwise: where its losses begin in the result buffer, in units
  uint16_t count;   // elements, 1 to 1024
  uint8_t dtypes;   // DTypeCode of x, of t << 2, of the losses << 4
  uint8_t flags;    // a sum of TileFlag
};
static_assert(sizeof(Tile) == 16, "the kernel reads an entry as one vector");

enum TileFlag : uint8_t { kLogTarget = 1, kSkipZeroTarget = 2, kPointwise = 4 };

constexpr uint32_t DTypeCode(numerics::DType dtype) { return static_cast<uint32_t>(dtype) - 1; }
constexpr numerics::DType DTypeFromCode(uint32_t code) {
  return static_cast<numerics::DType>((code & 3) + 1);
}

// The entry's dtypes and flags for a pair.
constexpr uint8_t TileDTypes(const numerics::Formula& formula) {
  return static_cast<uint8_t>(DTypeCode(formula.input) | DTypeCode(formula.target) << 2 |
                              DTypeCode(Promote(formula.input, formula.target)) << 4);
}
constexpr uint8_t TileFlags(const numerics::Formula& formula, bool pointwise) {
  return static_cast<uint8_t>((formula.log_target ? kLogTarget : 0) |
                              (formula.skip_zero_target ? kSkipZeroTarget : 0) |
                              (pointwise ? kPointwise : 0));
}

// Does the kernel, given this entry, stay within `tensor_bytes` of staging buffer and `pointwise_bytes` of
// pointwise losses?
constexpr bool TileIsWithin(const Tile& tile, int64_t tensor_bytes, int64_t pointwise_bytes) {
  const auto ends_by = [&tile](uint32_t begin, uint32_t dtype_code, int64_t limit) {
    const int64_t bytes = tile.count * int64_t{ElementSize(DTypeFromCode(dtype_code))};
    return begin * kUnitBytes + RoundUpToUnit(bytes) <= limit;
  };
  return tile.count >= 1 && tile.count <= numerics::kTileElements &&
         ends_by(tile.input, tile.dtypes, tensor_bytes) &&
         ends_by(tile.target, uint32_t{tile.dtypes} >> 2, tensor_bytes) &&
         ((tile.flags & kPointwise) == 0 ||
          ends_by(tile.output, uint32_t{tile.dtypes} >> 4, pointwise_bytes));
}

}  // namespace kldiv::cuda

#endif  // KLDIV_SERVER_CUDA_TILE_TABLE_H_
