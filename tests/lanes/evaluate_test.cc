#include "server/lanes/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "server/lanes/cpu_lane.h"
#include "server/numerics/float_control.h"
#include "server/numerics/formula.h"
#include "server/numerics/scalar.h"
#include "tests/testing/random_pair.h"

namespace kldiv::server {
namespace {

using numerics::DType;
using numerics::Formula;
using numerics::kTileElements;
using numerics::TileCount;
using testing::RandomPair;

uint64_t Bits(double value) { return std::bit_cast<uint64_t>(value); }

// Equal to the bit; which NaN a tile sum is does not matter.
void ExpectSameSums(const std::vector<double>& sums, const std::vector<double>& right) {
  ASSERT_EQ(sums.size(), right.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    if (std::isnan(right[i]) && std::isnan(sums[i])) continue;
    EXPECT_EQ(Bits(sums[i]), Bits(right[i])) << "tile " << i;
  }
}

std::vector<double> TileSums(const wire::Pair& pair) {
  std::vector<double> sums(static_cast<size_t>(TileCount(pair.elements)), -1);
  const LanePair lane{&pair, sums.data(), nullptr};
  if (pair.elements > 0) EvaluatePiece({&lane, 0, TileCount(pair.elements)});
  return sums;
}

TEST(Evaluate, GivesTheReferencesBitsForEveryFormulaAndAnySlices) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 600; ++i) {
    // From slices of a few bytes, with elements across them, to tensors in one piece.
    const size_t max_slice = size_t{1} << random() % 17;
    const auto elements = static_cast<int64_t>(random() % (max_slice < 64 ? 2500 : 9000));
    const RandomPair pair({testing::RandomFormula(random), elements, max_slice, random() % 4 == 0}, random);
    ExpectSameSums(TileSums(pair.pair()), pair.TileSums());
    EXPECT_EQ(Bits(EvaluateSum(pair.pair())), Bits(pair.Sum()));
    if (elements == 0) continue;
    // One byte more than needed at both ends, to see that they stay.
    std::vector<uint8_t> out(testing::PointwiseBytes(pair.pair()) + 2, 0xa5);
    const LanePair lane{&pair.pair(), nullptr, out.data() + 1};
    EvaluatePiece({&lane, 0, TileCount(elements)});
    EXPECT_EQ(out.front(), 0xa5);
    EXPECT_EQ(out.back(), 0xa5);
    EXPECT_EQ(std::vector<uint8_t>(out.begin() + 1, out.end() - 1), pair.Pointwise());
  }
}

TEST(Evaluate, GivesTheReferencesBitsForAllLengthsAroundATile) {
  std::mt19937_64 random(2);
  for (int64_t elements = 0; elements <= 2 * kTileElements + 2; elements += elements < 40 ? 1 : 31) {
    for (const Formula formula : {Formula{}, Formula{DType::kFp64, DType::kBf16, true, false}}) {
      const RandomPair pair({formula, elements, 1000}, random);
      EXPECT_EQ(Bits(EvaluateSum(pair.pair())), Bits(pair.Sum())) << elements << " elements";
    }
  }
}

TEST(Evaluate, SumsMoreTilesThanTheStackHolds) {
  std::mt19937_64 random(3);
  for (const int64_t tiles : {64, 65, 200}) {
    const RandomPair pair({.elements = tiles * kTileElements}, random);
    EXPECT_EQ(Bits(EvaluateSum(pair.pair())), Bits(pair.Sum()));
  }
}

TEST(Evaluate, FillsNothingButThePiecesOwnTiles) {
  std::mt19937_64 random(4);
  const RandomPair pair({.elements = 10 * kTileElements + 7}, random);
  const std::vector<double> right = pair.TileSums();
  std::vector<double> sums(right.size(), -1);
  const LanePair lane{&pair.pair(), sums.data(), nullptr};
  EvaluatePiece({&lane, 4, 3});
  for (size_t tile = 0; tile < sums.size(); ++tile) {
    EXPECT_EQ(sums[tile], tile >= 4 && tile < 7 ? right[tile] : -1) << "tile " << tile;
  }
  EvaluatePiece({&lane, 7, 4});
  EvaluatePiece({&lane, 0, 4});
  ExpectSameSums(sums, right);
}

TEST(Evaluate, FillsNothingButThePiecesOwnPointwiseLosses) {
  std::mt19937_64 random(5);
  const RandomPair pair({{DType::kFp16, DType::kBf16, false, false}, 10 * kTileElements + 7}, random);
  const std::vector<uint8_t> right = pair.Pointwise();
  std::vector<uint8_t> out(right.size(), 0xa5);
  const LanePair lane{&pair.pair(), nullptr, out.data()};
  EvaluatePiece({&lane, 10, 1});
  EXPECT_TRUE(
      std::all_of(out.begin(), out.begin() + 10 * kTileElements * 4, [](uint8_t b) { return b == 0xa5; }));
  EvaluatePiece({&lane, 0, 10});
  EXPECT_EQ(out, right);
}

TEST(CpuLane, KeepsSubnormalsOnAThreadThatFlushesThem) {
  // The target, its products and their sum are subnormal.
  const double x = -4;
  const double t = std::ldexp(1.0, -1060);
  const auto bytes_of = [](const double& value) {
    return wire::Slice(reinterpret_cast<const uint8_t*>(&value), sizeof(value));
  };
  const wire::Slice input = bytes_of(x);
  const wire::Slice target = bytes_of(t);
  const wire::Pair pair{{DType::kFp64, DType::kFp64, false, false}, 1, {&input, 0, 8}, {&target, 0, 8}};
  double right = 0;
  numerics::scalar::TileSums(pair.formula, &x, &t, 1, &right);
  ASSERT_NE(right, 0);

  double sum = 0;
  const LanePair lane_pair{&pair, &sum, nullptr};
  const std::vector<Piece> pieces = {{&lane_pair, 0, 1}};
  const std::unique_ptr<Lane> lane = MakeCpuLane();
  numerics::FlushSubnormals();
  const absl::Status status = lane->Run(pieces);
  numerics::ResetFloatControl();
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(Bits(sum), Bits(right));
}

}  // namespace
}  // namespace kldiv::server
