// How batches lie in a lane's buffers, without a device.

#include "server/cuda/staging.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "tests/cuda/pair_set.h"

namespace kldiv::cuda {
namespace {

using numerics::DType;
using numerics::kTileElements;
using server::Piece;
using testing::PairSet;

constexpr uint8_t kStale = 0xff;  // NaN in every dtype

// A buffer as a lane has it: aligned, full of an earlier batch's bytes.
class Staging {
 public:
  explicit Staging(const Round& round) : bytes_(static_cast<size_t>(round.staging_bytes()) + 32, kStale) {
    EXPECT_EQ(round.Gather(data()), absl::OkStatus());
    EXPECT_EQ(data()[round.staging_bytes()], kStale);
  }
  uint8_t* data() { return bytes_.data() + (32 - reinterpret_cast<uintptr_t>(bytes_.data()) % 32) % 32; }

 private:
  std::vector<uint8_t> bytes_;
};

const Tile* Table(const Round& round, Staging& staging) {
  return reinterpret_cast<const Tile*>(staging.data() + round.table_offset());
}

TEST(Staging, PadsEveryTensorWithZerosToAUnit) {
  std::mt19937_64 random(1);
  for (const DType dtype : testing::kDTypes) {
    for (const int64_t elements : {1, 2, 3, 4, 5, 15, 16, 17, 1023, 1024}) {
      PairSet pairs;
      pairs.AddRandom(random, {dtype, dtype}, elements, false, 0);
      Round round;
      Cursor cursor;
      round.Plan(pairs.Pieces(), BufferSizesFor(1 << 20), cursor);
      Staging staging(round);
      const int64_t bytes = elements * ElementSize(dtype);
      const int64_t padded = RoundUpToUnit(bytes);
      EXPECT_EQ(round.table_offset(), 2 * padded);
      for (const int64_t tensor : {int64_t{0}, padded}) {
        for (int64_t at = bytes; at < padded; ++at) ASSERT_EQ(staging.data()[tensor + at], 0);
      }
    }
  }
}

TEST(Staging, WritesATileForEachThousandElementsOfEachPair) {
  std::mt19937_64 random(1);
  PairSet pairs;
  pairs.AddRandom(random, {DType::kFp16, DType::kFp64, true, true}, 2500, true, 0);
  pairs.AddRandom(random, {DType::kFp32, DType::kFp32}, 3, false, 0);
  Round round;
  Cursor cursor;
  round.Plan(pairs.Pieces(), BufferSizesFor(1 << 20), cursor);
  EXPECT_EQ(cursor.piece, 2);
  ASSERT_EQ(round.tile_count(), 4);
  EXPECT_EQ(round.pointwise_offset(), 32);
  EXPECT_EQ(round.result_bytes(), 32 + 2500 * 8);
  Staging staging(round);
  const Tile* const tiles = Table(round, staging);
  const int64_t target = RoundUpToUnit(2500 * 2);
  const int64_t second = target + 2500 * 8;
  EXPECT_EQ(tiles[2].input * kUnitBytes, 2048 * 2);
  EXPECT_EQ(tiles[2].target * kUnitBytes, target + 2048 * 8);
  EXPECT_EQ(tiles[2].output * kUnitBytes, 2048 * 8);
  EXPECT_EQ(tiles[2].count, 452);
  EXPECT_EQ(tiles[2].flags, kLogTarget | kSkipZeroTarget | kPointwise);
  EXPECT_EQ(DTypeFromCode(tiles[2].dtypes), DType::kFp16);
  EXPECT_EQ(DTypeFromCode(tiles[2].dtypes >> 2), DType::kFp64);
  EXPECT_EQ(DTypeFromCode(tiles[2].dtypes >> 4), DType::kFp64);
  EXPECT_EQ(tiles[3].input * kUnitBytes, second);
  EXPECT_EQ(tiles[3].count, 3);
  EXPECT_EQ(tiles[3].flags, 0);
}

TEST(Staging, CutsAtTilesWhatDoesNotFitAndLosesNoTile) {
  std::mt19937_64 random(2);
  for (int repetition = 0; repetition < 20; ++repetition) {
    PairSet pairs;
    for (int i = 0; i < 8; ++i) {
      pairs.AddRandom(random, kldiv::testing::RandomFormula(random), static_cast<int64_t>(random() % 40'000),
                      random() % 2 == 0, 0);
    }
    const std::vector<Piece> pieces = pairs.CutPieces(random);
    int64_t want = 0;
    for (const Piece& piece : pieces) want += piece.tile_count;
    const BufferSizes sizes = BufferSizesFor(1);
    Round round;
    int64_t tiles = 0;
    for (Cursor cursor; cursor.piece < pieces.size();) {
      round.Plan(pieces, sizes, cursor);
      ASSERT_GE(round.tile_count(), 1);
      ASSERT_LE(round.staging_bytes(), sizes.staging_bytes);
      ASSERT_LE(round.result_bytes(), sizes.result_bytes);
      Staging staging(round);
      tiles += round.tile_count();
    }
    EXPECT_EQ(tiles, want);
  }
}

// What the batcher hands out fits into one round.
TEST(Staging, HoldsABatchOfFewPairsInOneRound) {
  std::mt19937_64 random(3);
  constexpr int64_t kBatch = 4 << 20;
  for (const DType dtype : testing::kDTypes) {
    PairSet pairs;
    const int64_t elements = kBatch / 2 / ElementSize(dtype);
    for (int i = 0; i < 8; ++i) pairs.AddRandom(random, {dtype, dtype}, elements / 8, i % 2 == 0, 0);
    Round round;
    Cursor cursor;
    round.Plan(pairs.Pieces(), BufferSizesFor(kBatch), cursor);
    EXPECT_EQ(cursor.piece, 8);
  }
}

TEST(Staging, FillsABufferToTheLastTileAndNoFurther) {
  std::mt19937_64 random(4);
  PairSet pairs;
  pairs.AddRandom(random, {DType::kFp32, DType::kFp32}, 5 * kTileElements, false, 0);
  const int64_t tile = 8 * kTileElements + static_cast<int64_t>(sizeof(Tile));
  for (const auto& [staging_bytes, result_bytes, tiles] : {std::tuple{3 * tile, int64_t{1024}, 3},
                                                           {3 * tile - 1, 1024, 2},
                                                           {5 * tile, 64, 5},
                                                           {5 * tile, 63, 4}}) {
    Round round;
    Cursor cursor;
    round.Plan(pairs.Pieces(), {staging_bytes, result_bytes}, cursor);
    EXPECT_EQ(round.tile_count(), tiles);
  }
}

TEST(TileTable, TellsTilesThatLeaveTheBuffers) {
  const Tile good{0, 128, 0, 1024, TileDTypes({DType::kFp32, DType::kFp32}), kPointwise};
  EXPECT_TRUE(TileIsWithin(good, 8192, 4096));
  EXPECT_FALSE(TileIsWithin(good, 8191, 4096));
  EXPECT_FALSE(TileIsWithin(good, 8192, 4095));
  Tile bad = good;
  bad.count = 0;
  EXPECT_FALSE(TileIsWithin(bad, 8192, 4096));
  bad.count = 1025;
  EXPECT_FALSE(TileIsWithin(bad, 1 << 20, 1 << 20));
  bad = good;
  bad.input = 129;
  EXPECT_FALSE(TileIsWithin(bad, 8192, 4096));
  bad = good;
  bad.output = 1;
  EXPECT_FALSE(TileIsWithin(bad, 8192, 4096));
  bad = good;
  bad.input = 0xffffffffu;  // the offset is taken in 64 bits
  EXPECT_FALSE(TileIsWithin(bad, 8192, 4096));
  EXPECT_TRUE(TileIsWithin(bad, (int64_t{1} << 37) + 8192, 4096));
}

}  // namespace
}  // namespace kldiv::cuda
