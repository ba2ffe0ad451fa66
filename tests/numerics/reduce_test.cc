#include "server/numerics/reduce.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

namespace kldiv::numerics {
namespace {

using Values = std::vector<double>;

Values RandomValues(std::mt19937_64& random, int64_t count) {
  Values values(static_cast<size_t>(count));
  for (double& value : values) value = static_cast<double>(random() >> 11) * 0x1p-53 - 0.3;
  return values;
}

Values TileSums(const Values& values) {
  Values sums;
  const auto count = static_cast<int64_t>(values.size());
  for (int64_t first = 0; first < count; first += kTileElements) {
    sums.push_back(SumTile(&values[static_cast<size_t>(first)], std::min(kTileElements, count - first)));
  }
  return sums;
}

double Fold(Values sums) { return FoldTileSums(sums.data(), static_cast<int64_t>(sums.size()), SumTile); }
double Reduce(const Values& values) { return Fold(TileSums(values)); }

Values Part(const Values& values, int64_t begin, int64_t end) {
  return {values.begin() + begin, values.begin() + end};
}

TEST(Reduce, AddsInTheDocumentedOrder) {
  // Written out from the definition, with indices instead of loops over halves.
  std::mt19937_64 random(1);
  const Values v = RandomValues(random, 300);
  double a[128] = {};
  for (int e = 0; e < 300; ++e) a[e % 128] = a[e % 128] + v[static_cast<size_t>(e)];
  double b[32];
  for (int j = 0; j < 32; ++j) b[j] = (a[4 * j] + a[4 * j + 1]) + (a[4 * j + 2] + a[4 * j + 3]);
  for (int j = 0; j < 16; ++j) b[j] = b[j] + b[j + 16];
  for (int j = 0; j < 8; ++j) b[j] = b[j] + b[j + 8];
  for (int j = 0; j < 4; ++j) b[j] = b[j] + b[j + 4];
  const double sum = (b[0] + b[2]) + (b[1] + b[3]);
  EXPECT_EQ(SumTile(v.data(), 300), sum);
}

TEST(Reduce, OfNothingIsPlusZero) { EXPECT_EQ(std::bit_cast<uint64_t>(Reduce({})), 0u); }

TEST(Reduce, NeverGivesMinusZero) {
  for (const int64_t count : {1, 2, 127, 128, 1024, 1025, 3000}) {
    const Values zeros(static_cast<size_t>(count), -0.0);
    EXPECT_EQ(std::bit_cast<uint64_t>(Reduce(zeros)), 0u) << count;
  }
}

TEST(Reduce, OfOneValueIsThatValue) { EXPECT_EQ(Reduce({-0.3}), -0.3); }

TEST(Reduce, LeavesNoNaNButTheCanonicalOne) {
  EXPECT_EQ(std::bit_cast<uint64_t>(Reduce({-std::nan("7")})), 0x7ff8000000000000u);
  EXPECT_EQ(std::bit_cast<uint64_t>(Divide(0, 0)), 0x7ff8000000000000u);
  EXPECT_EQ(std::bit_cast<uint64_t>(Divide(HUGE_VAL - HUGE_VAL, 3)), 0x7ff8000000000000u);
}

TEST(Reduce, DividesOnce) { EXPECT_EQ(Divide(1.0, 3), 1.0 / 3.0); }

TEST(Reduce, TakesPiecesThatDeliverAllTheirTileSums) {
  std::mt19937_64 random(2);
  for (const int64_t count : {3000, 100'000, 1'048'576 + 5000}) {
    const Values values = RandomValues(random, count);
    const double whole = Reduce(values);
    for (int cut = 0; cut < 20; ++cut) {
      const auto tiles = static_cast<uint64_t>(TileCount(count));
      const auto at = static_cast<int64_t>(1 + random() % (tiles - 1)) * kTileElements;
      Values sums = TileSums(Part(values, 0, at));
      const Values rest = TileSums(Part(values, at, count));
      sums.insert(sums.end(), rest.begin(), rest.end());
      EXPECT_EQ(Fold(sums), whole) << count << " cut at " << at;
    }
  }
}

// Why pieces must not be added: nothing else in the suite would notice a design that does.
TEST(Reduce, OfSumsOfArbitraryPiecesDiffers) {
  std::mt19937_64 random(3);
  const Values values = RandomValues(random, 100'000);
  int different = 0;
  for (int64_t at = kTileElements; at < 100'000; at += 7 * kTileElements) {
    different += Reduce({Reduce(Part(values, 0, at)), Reduce(Part(values, at, 100'000))}) != Reduce(values);
  }
  EXPECT_GT(different, 0);
}

}  // namespace
}  // namespace kldiv::numerics
