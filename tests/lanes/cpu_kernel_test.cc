#include "server/lanes/cpu_kernel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "server/numerics/float_control.h"
#include "server/numerics/reduce.h"
#include "server/numerics/scalar.h"
#include "tests/lanes/reference_pair.h"
#include "tests/numerics/effort.h"
#include "tests/numerics/random_tensor.h"

// Every instruction set equals the scalar reference to the bit.
namespace kldiv::cpu_kernel {
namespace {

using numerics::Contents;
using numerics::DType;
using numerics::Formula;
using numerics::kSlowdown;
using numerics::kTileElements;
using numerics::RandomTensor;
using numerics::TileCount;

using Bytes = std::vector<uint8_t>;

constexpr DType kDTypes[] = {DType::kFp16, DType::kBf16, DType::kFp32, DType::kFp64};

std::vector<Formula> AllFormulas() {
  std::vector<Formula> formulas;
  for (const DType input : kDTypes) {
    for (const DType target : kDTypes) {
      for (const bool log_target : {false, true}) {
        for (const bool skip : {false, true}) formulas.push_back({input, target, log_target, skip});
      }
    }
  }
  return formulas;
}

class CpuKernel : public testing::TestWithParam<std::string> {
 protected:
  // As a library linked with -Ofast leaves a thread; a lane resets it before it computes.
  CpuKernel() {
    UseInstructionSet(GetParam());
    numerics::FlushSubnormals();
    numerics::ResetFloatControl();
  }

  // The scalar set is the reference itself, and slow.
  int64_t stride() const { return GetParam() == "scalar" ? 101 : kSlowdown; }
};

TEST_P(CpuKernel, EqualsTheReferenceOnTileSumsOfAllLengths) {
  std::mt19937_64 random(1);
  for (const Formula& formula : AllFormulas()) {
    for (const int special : {40, 3000}) {
      const ReferencePair pair(random, formula, 4200, special);
      for (int64_t n = static_cast<int64_t>(random() % static_cast<uint64_t>(stride())); n <= 4200;
           n += stride()) {
        ASSERT_EQ(pair.TileSumDifference(n), "");
      }
    }
  }
}

TEST_P(CpuKernel, EqualsTheReferenceMisalignedAndPointwise) {
  std::mt19937_64 random(2);
  for (const Formula& formula : AllFormulas()) {
    for (const int special : {0, 6, 300}) {
      const ReferencePair pair(random, formula, 2100, special);
      for (int64_t n = 0; n <= 2100; n += n < 140 ? 1 : 37 * stride()) {
        ASSERT_EQ(pair.Difference(n, random() % 16, random() % 16), "");
      }
    }
  }
}

TEST_P(CpuKernel, EqualsTheReferenceBeyondTheSecondLevelOfTheTree) {
  std::mt19937_64 random(3);
  for (const DType dtype : kDTypes) {
    if (stride() > 1 && dtype != DType::kFp32) continue;
    const ReferencePair pair(random, {.input = dtype, .target = dtype}, 1024 * 1024 + 1100, 5000);
    for (const int64_t n : {1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 1024 * 1024 + 1100}) {
      ASSERT_EQ(pair.TileSumDifference(n), "");
    }
  }
}

// One element at a time among harmless ones, so that nothing hides it.
TEST_P(CpuKernel, EqualsTheReferenceOnEachHalfAndBfloat16) {
  for (const DType dtype : {DType::kFp16, DType::kBf16}) {
    for (const bool log_target : {false, true}) {
      const Formula formula = {.input = dtype, .target = dtype, .log_target = log_target};
      std::vector<uint16_t> target(0x10000);
      for (uint32_t bits = 0; bits < 0x10000; ++bits) target[bits] = static_cast<uint16_t>(bits);
      const std::vector<uint16_t> input(target.size(), 0xbe10);
      std::vector<uint16_t> got(target.size());
      std::vector<uint16_t> want(target.size());
      const auto n = static_cast<int64_t>(target.size());
      Pointwise(formula, input.data(), target.data(), n, got.data());
      numerics::scalar::Pointwise(formula, input.data(), target.data(), n, want.data());
      EXPECT_EQ(got, want) << Describe(formula);
    }
  }
}

// Rows of neighbouring floats, from all over their range.
TEST_P(CpuKernel, EqualsTheReferenceOnNeighbouringFloats) {
  const uint64_t step =
      (numerics::SlowTests() && kSlowdown == 1 ? 61 : 7919) * 1024 * static_cast<uint64_t>(stride());
  std::vector<float> target(1024);
  const std::vector<float> input(1024, -1.5f);
  for (const bool log_target : {false, true}) {
    const Formula formula = {.log_target = log_target};
    for (uint64_t first = 0; first < uint64_t{1} << 32; first += step) {
      for (size_t i = 0; i < target.size(); ++i)
        target[i] = std::bit_cast<float>(static_cast<uint32_t>(first + i));
      double got = 0;
      double want = 0;
      TileSums(formula, input.data(), target.data(), 1024, &got);
      numerics::scalar::TileSums(formula, input.data(), target.data(), 1024, &want);
      ASSERT_TRUE(SameTileSum(got, want)) << Describe(formula) << " from " << first;
    }
  }
}

// A loss that a conversion to float moves onto the middle between two numbers of a 16-bit format would then
// go the wrong way: one in some 2^13 of FP16, 2^17 of BF16.
TEST_P(CpuKernel, RoundsPointwiseLossesOnce) {
  std::mt19937_64 random(4);
  for (const DType dtype : {DType::kFp16, DType::kBf16}) {
    const Formula formula = {.input = dtype, .target = dtype};
    const int64_t n = (dtype == DType::kFp16 ? 400'000 : 4'000'000) / stride();
    const Bytes x = RandomTensor(random, dtype, n, Contents::kLogProbabilities, 0);
    const Bytes t = RandomTensor(random, dtype, n, Contents::kProbabilities, 0);
    Bytes got(x.size());
    Bytes want(x.size());
    Pointwise(formula, x.data(), t.data(), n, got.data());
    numerics::scalar::Pointwise(formula, x.data(), t.data(), n, want.data());
    EXPECT_TRUE(got == want) << Describe(formula);
  }
}

// The same for the smallest numbers, where a float, too, has fewer bits: tiny targets, and inputs of which
// some are near their logarithms.
TEST_P(CpuKernel, RoundsSubnormalPointwiseLossesOnce) {
  for (const DType dtype : {DType::kFp16, DType::kBf16}) {
    const Formula formula = {.input = dtype, .target = dtype};
    const uint16_t minus_1 = dtype == DType::kFp16 ? 0xbc00 : 0xbf80;
    const uint16_t minus_128 = dtype == DType::kFp16 ? 0xd800 : 0xc300;
    const int x_step = (dtype == DType::kFp16 ? 8 : 1) * static_cast<int>(stride());
    std::vector<uint16_t> x, t;
    for (int x_bits = minus_1; x_bits <= minus_128; x_bits += x_step) {
      for (int t_bits = 1; t_bits <= 0x300; ++t_bits) {
        x.push_back(static_cast<uint16_t>(x_bits));
        t.push_back(static_cast<uint16_t>(t_bits));
      }
    }
    std::vector<uint16_t> got(x.size());
    std::vector<uint16_t> want(x.size());
    const auto n = static_cast<int64_t>(x.size());
    Pointwise(formula, x.data(), t.data(), n, got.data());
    numerics::scalar::Pointwise(formula, x.data(), t.data(), n, want.data());
    EXPECT_TRUE(got == want) << Describe(formula);
  }
}

TEST_P(CpuKernel, FoldEqualsTheReferenceForAllCounts) {
  std::mt19937_64 random(5);
  std::vector<double> sums(4200);
  for (double& sum : sums) sum = static_cast<double>(random() >> 11) * 0x1p-53 - 0.3;
  for (int64_t count = 0; count <= 4200; count += stride()) {
    std::vector<double> got(sums.begin(), sums.begin() + count);
    std::vector<double> want = got;
    ASSERT_TRUE(SameBits(Fold(got.data(), count), numerics::scalar::Fold(want.data(), count))) << count;
  }
  std::vector<double> many(1024 * 1024 + 5, 0.1);
  std::vector<double> same = many;
  const auto count = static_cast<int64_t>(many.size());
  EXPECT_TRUE(SameBits(Fold(many.data(), count), numerics::scalar::Fold(same.data(), count)));
}

TEST_P(CpuKernel, FoldMakesNaNCanonical) {
  for (const int64_t count : {1, 2, 1025}) {
    std::vector<double> sums(static_cast<size_t>(count), 1.0);
    sums.back() = std::bit_cast<double>(uint64_t{0xfff800000000abcdu});
    EXPECT_EQ(std::bit_cast<uint64_t>(Fold(sums.data(), count)), 0x7ff8000000000000u);
  }
}

TEST_P(CpuKernel, NeverSumsToMinusZero) {
  const double x = -1.0;
  const double t = -800.0;  // e^t is 0, t - x negative
  double sum = 1;
  TileSums({DType::kFp64, DType::kFp64, true, false}, &x, &t, 1, &sum);
  EXPECT_EQ(std::bit_cast<uint64_t>(sum), 0u);
  EXPECT_EQ(std::bit_cast<uint64_t>(Fold(&sum, 1)), 0u);
}

// Wherever it stands; a sum that only looks at sign bits may take -0 and -NaN for negative, or miss one.
TEST_P(CpuKernel, SeesOneNegativeTargetAnywhere) {
  for (const int64_t n : {1, 9, 33, 130, 1000, 1024}) {
    const std::vector<float> x(static_cast<size_t>(n), -1.0f);
    for (int64_t at = 0; at < n; at += n < 200 ? 1 : 61) {
      std::vector<float> t(static_cast<size_t>(n), 0.5f);
      t[static_cast<size_t>(at)] = -0.0f;
      double sum = 0;
      TileSums(Formula{}, x.data(), t.data(), n, &sum);
      EXPECT_FALSE(std::isnan(sum)) << n << " at " << at;
      t[static_cast<size_t>(at)] = -1e-45f;
      TileSums(Formula{}, x.data(), t.data(), n, &sum);
      EXPECT_TRUE(std::isnan(sum)) << n << " at " << at;
    }
  }
}

TEST_P(CpuKernel, GivesTheSameTileSumsInPieces) {
  std::mt19937_64 random(6);
  const int64_t n = 20 * kTileElements + 77;
  const Bytes x = RandomTensor(random, DType::kBf16, n, Contents::kLogProbabilities, 500);
  const Bytes t = RandomTensor(random, DType::kFp32, n, Contents::kProbabilities, 500);
  const Formula formula = {.input = DType::kBf16, .target = DType::kFp32};
  std::vector<double> whole(static_cast<size_t>(TileCount(n)));
  TileSums(formula, x.data(), t.data(), n, whole.data());
  for (int64_t cut = kTileElements; cut < n; cut += kTileElements) {
    std::vector<double> pieces(whole.size());
    TileSums(formula, x.data(), t.data(), cut, pieces.data());
    TileSums(formula, x.data() + 2 * cut, t.data() + 4 * cut, n - cut,
             &pieces[static_cast<size_t>(cut / kTileElements)]);
    EXPECT_TRUE(std::equal(whole.begin(), whole.end(), pieces.begin(), SameTileSum)) << cut;
  }
}

std::string TestName(const testing::TestParamInfo<std::string>& info) {
  std::string name;
  for (const char c : info.param) {
    if (c != '-') name.push_back(c);
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(EveryInstructionSet, CpuKernel, testing::ValuesIn(SupportedInstructionSets()),
                         TestName);

TEST(InstructionSets, EndWithTheScalarOneAndStartWithTheOneInUse) {
  const std::vector<std::string> sets = SupportedInstructionSets();
  EXPECT_EQ(sets.back(), "scalar");
  EXPECT_THAT(sets, testing::Each(testing::AnyOf("AVX-512", "AVX2", "NEON", "scalar")));
  for (const std::string& set : sets) {
    UseInstructionSet(set);
    EXPECT_EQ(InstructionSet(), set);
  }
  UseInstructionSet(sets.front());
}

}  // namespace
}  // namespace kldiv::cpu_kernel
