#include "server/cuda/staging.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "proto/wire/slices.h"

namespace kldiv::cuda {
namespace {

using numerics::kTileElements;
using server::LanePair;
using server::Piece;

// A tile of two FP64 tensors, its entry, its sum and its losses fit, whatever else is said.
constexpr int64_t kLeastStagingBytes = int64_t{64} << 10;
constexpr int64_t kLeastResultBytes = int64_t{16} << 10;

// Within what a table's offsets reach.
constexpr int64_t kMostBatchBytes = int64_t{64} << 30;

int64_t ElementsOf(const LanePair& pair, int64_t first_tile, int64_t tile_count) {
  return std::min(tile_count * kTileElements, pair.pair->elements - first_tile * kTileElements);
}

int64_t TensorBytes(const LanePair& pair, int64_t elements) {
  return RoundUpToUnit(elements * ElementSize(pair.pair->formula.input)) +
         RoundUpToUnit(elements * ElementSize(pair.pair->formula.target));
}

int64_t PointwiseBytes(const LanePair& pair, int64_t elements) {
  return pair.pointwise == nullptr ? 0 : RoundUpToUnit(elements * ElementSize(pair.pair->formula.output()));
}

// Copies `elements` of a tensor from element `first` on, and zeros up to the next unit.
void GatherTensor(const wire::ByteView& bytes, numerics::DType dtype, int64_t first, int64_t elements,
                  uint8_t* to) {
  const int64_t size = elements * ElementSize(dtype);
  wire::ByteCursor cursor(bytes, static_cast<size_t>(first * ElementSize(dtype)));
  cursor.Copy(static_cast<size_t>(size), to);
  std::memset(to + size, 0, static_cast<size_t>(RoundUpToUnit(size) - size));
}

uint32_t Units(int64_t bytes) { return static_cast<uint32_t>(bytes / kUnitBytes); }

}  // namespace

BufferSizes BufferSizesFor(int64_t max_batch_bytes) {
  // A tile's entry is 16 bytes to at least 4096 of tensors, its sum 8.
  const int64_t units = RoundUpToUnit(std::min(max_batch_bytes, kMostBatchBytes));
  return {units + RoundUpToUnit(units / 256) + kLeastStagingBytes,
          RoundUpToUnit(units / 2) + RoundUpToUnit(units / 512) + kLeastResultBytes};
}

void Round::Plan(std::span<const Piece> pieces, const BufferSizes& sizes, Cursor& cursor) {
  parts_.clear();
  tile_count_ = 0;
  tensor_bytes_ = 0;
  pointwise_bytes_ = 0;
  while (cursor.piece < pieces.size()) {
    const Piece& piece = pieces[cursor.piece];
    const int64_t tiles = TilesThatFit(piece, cursor.tile, sizes);
    if (tiles == 0) break;
    Add(*piece.pair, piece.first_tile + cursor.tile, tiles);
    cursor.tile += tiles;
    if (cursor.tile < piece.tile_count) break;
    ++cursor.piece;
    cursor.tile = 0;
  }
  assert(!parts_.empty() || cursor.piece == pieces.size());
}

bool Round::Fits(int64_t tensor_bytes, int64_t tiles, int64_t pointwise_bytes,
                 const BufferSizes& sizes) const {
  const int64_t all_tiles = tile_count_ + tiles;
  return tensor_bytes_ + tensor_bytes + all_tiles * int64_t{sizeof(Tile)} <= sizes.staging_bytes &&
         RoundUpToUnit(all_tiles * int64_t{sizeof(double)}) + pointwise_bytes_ + pointwise_bytes <=
             sizes.result_bytes;
}

int64_t Round::TilesThatFit(const Piece& piece, int64_t first, const BufferSizes& sizes) const {
  const auto fits = [&](int64_t tiles) {
    const int64_t elements = ElementsOf(*piece.pair, piece.first_tile + first, tiles);
    return Fits(TensorBytes(*piece.pair, elements), tiles, PointwiseBytes(*piece.pair, elements), sizes);
  };
  const int64_t left = piece.tile_count - first;
  if (fits(left)) return left;
  // The most for which it is true: more tiles never need less.
  int64_t fitting = 0;
  int64_t too_many = left;
  while (too_many - fitting > 1) {
    const int64_t middle = fitting + (too_many - fitting) / 2;
    (fits(middle) ? fitting : too_many) = middle;
  }
  return fitting;
}

void Round::Add(const LanePair& pair, int64_t first_tile, int64_t tile_count) {
  const int64_t elements = ElementsOf(pair, first_tile, tile_count);
  const int64_t target_offset =
      tensor_bytes_ + RoundUpToUnit(elements * ElementSize(pair.pair->formula.input));
  parts_.push_back({&pair, first_tile, tile_count, elements, tensor_bytes_, target_offset, pointwise_bytes_});
  tile_count_ += tile_count;
  tensor_bytes_ += TensorBytes(pair, elements);
  pointwise_bytes_ += PointwiseBytes(pair, elements);
}

absl::Status Round::Gather(uint8_t* staging) const {
  auto* tile = reinterpret_cast<Tile*>(staging + table_offset());
  for (const Part& part : parts_) {
    const wire::Pair& pair = *part.pair->pair;
    const numerics::Formula& formula = pair.formula;
    const int64_t first = part.first_tile * kTileElements;
    GatherTensor(pair.input, formula.input, first, part.elements, staging + part.input_offset);
    GatherTensor(pair.target, formula.target, first, part.elements, staging + part.target_offset);

    const uint8_t dtypes = TileDTypes(formula);
    const uint8_t flags = TileFlags(formula, part.pair->pointwise != nullptr);
    for (int64_t done = 0; done < part.elements; done += kTileElements, ++tile) {
      *tile = {Units(part.input_offset + done * ElementSize(formula.input)),
               Units(part.target_offset + done * ElementSize(formula.target)),
               Units(part.pointwise_offset + done * ElementSize(formula.output())),
               static_cast<uint16_t>(std::min(kTileElements, part.elements - done)),
               dtypes,
               flags};
      if (!TileIsWithin(*tile, tensor_bytes_, pointwise_bytes_)) {
        return absl::InternalError(absl::StrCat(
            "a tile lies outside of its staging buffer of ", tensor_bytes_, " bytes: input ", tile->input,
            ", target ", tile->target, ", output ", tile->output, ", ", tile->count, " elements"));
      }
    }
  }
  return absl::OkStatus();
}

void Round::Scatter(const uint8_t* results) const {
  const uint8_t* sums = results;
  const uint8_t* const pointwise = results + pointwise_offset();
  for (const Part& part : parts_) {
    const auto sum_bytes = static_cast<size_t>(part.tile_count) * sizeof(double);
    if (part.pair->tile_sums != nullptr) {
      std::memcpy(part.pair->tile_sums + part.first_tile, sums, sum_bytes);
    }
    sums += sum_bytes;
    if (part.pair->pointwise != nullptr) {
      const int64_t size = ElementSize(part.pair->pair->formula.output());
      std::memcpy(part.pair->pointwise + part.first_tile * kTileElements * size,
                  pointwise + part.pointwise_offset, static_cast<size_t>(part.elements * size));
    }
  }
}

}  // namespace kldiv::cuda
