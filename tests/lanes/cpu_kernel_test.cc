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

std::string Describe(const Formula& formula) {
  const auto number = [](DType dtype) { return std::to_string(static_cast<int>(dtype)); };
  return "dtypes " + number(formula.input) + ", " + number(formula.target) +
         (formula.log_target ? ", log_target" : "") + (formula.skip_zero_target ? ", skip" : "");
}

bool SameBits(double a, double b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); }

// Tile sums may differ in which NaN they are.
bool SameTileSum(double a, double b) { return SameBits(a, b) || (std::isnan(a) && std::isnan(b)); }

// A pair with the reference's answers for each of its beginnings: the reference is asked once, and a test can
// go through all lengths.
class Pair {
 public:
  Pair(std::mt19937_64& random, const Formula& formula, int64_t elements, int special)
      : formula_(formula),
        input_(RandomTensor(random, formula.input, elements, Contents::kLogProbabilities, special)),
        target_(RandomTensor(random, formula.target, elements,
                             formula.log_target ? Contents::kLogProbabilities : Contents::kProbabilities,
                             special)) {
    for (int64_t e = 0; e < elements; ++e) {
      losses_.push_back(
          numerics::scalar::Element(formula, numerics::scalar::Widen(formula.input, input_.data(), e),
                                    numerics::scalar::Widen(formula.target, target_.data(), e)));
    }
    for (int64_t first = 0; first + kTileElements <= elements; first += kTileElements) {
      full_tiles_.push_back(numerics::SumTile(&losses_[static_cast<size_t>(first)], kTileElements));
    }
  }

  const Formula& formula() const { return formula_; }
  int64_t elements() const { return static_cast<int64_t>(losses_.size()); }

  // What differs from the reference for the first `elements`, with the tensors at these distances from an
  // aligned address, and nothing readable behind them under AddressSanitizer; empty when nothing does.
  std::string Difference(int64_t elements, size_t input_offset, size_t target_offset) const {
    const Bytes input = Shifted(input_, elements * ElementSize(formula_.input), input_offset);
    const Bytes target = Shifted(target_, elements * ElementSize(formula_.target), target_offset);
    const uint8_t* x = input.data() + input_offset;
    const uint8_t* t = target.data() + target_offset;
    const std::string what = Describe(formula_) + ", " + std::to_string(elements) + " elements";

    std::vector<double> sums(static_cast<size_t>(TileCount(elements)) + 1, kUntouched);
    TileSums(formula_, x, t, elements, sums.data());
    if (!SameBits(sums.back(), kUntouched)) return what + ": wrote a tile sum too many";
    sums.pop_back();
    const std::vector<double> want = ReferenceTileSums(elements);
    for (size_t i = 0; i < sums.size(); ++i) {
      if (!SameTileSum(sums[i], want[i])) return what + ": tile " + std::to_string(i);
    }

    const auto size = static_cast<size_t>(ElementSize(formula_.output()));
    const size_t bytes = static_cast<size_t>(elements) * size;
    Bytes out(bytes + input_offset + 1, kGuard);
    Pointwise(formula_, x, t, elements, out.data() + input_offset);
    if (out.back() != kGuard) return what + ": wrote a pointwise loss too many";
    for (int64_t e = 0; e < elements; ++e) {
      const uint64_t bits = numerics::scalar::Round(formula_.output(), losses_[static_cast<size_t>(e)]);
      if (std::memcmp(out.data() + input_offset + static_cast<size_t>(e) * size, &bits, size) != 0) {
        return what + ": pointwise loss of element " + std::to_string(e);
      }
    }
    return "";
  }

  // The same for tile sums alone and in place, which is quick.
  std::string TileSumDifference(int64_t elements) const {
    std::vector<double> sums(static_cast<size_t>(TileCount(elements)));
    TileSums(formula_, input_.data(), target_.data(), elements, sums.data());
    const std::vector<double> want = ReferenceTileSums(elements);
    if (!std::equal(sums.begin(), sums.end(), want.begin(), SameTileSum)) {
      return Describe(formula_) + ", " + std::to_string(elements) + " elements";
    }
    return "";
  }

 private:
  static constexpr double kUntouched = -77.0;
  static constexpr uint8_t kGuard = 0xa5;

  static Bytes Shifted(const Bytes& bytes, int64_t count, size_t offset) {
    Bytes shifted(offset, kGuard);
    shifted.insert(shifted.end(), bytes.begin(), bytes.begin() + count);
    return shifted;
  }

  std::vector<double> ReferenceTileSums(int64_t elements) const {
    const int64_t full = elements / kTileElements;
    std::vector<double> sums(full_tiles_.begin(), full_tiles_.begin() + full);
    if (const int64_t rest = elements % kTileElements; rest > 0) {
      sums.push_back(numerics::SumTile(&losses_[static_cast<size_t>(full * kTileElements)], rest));
    }
    return sums;
  }

  Formula formula_;
  Bytes input_, target_;
  std::vector<double> losses_;
  std::vector<double> full_tiles_;
};

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
      const Pair pair(random, formula, 4200, special);
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
      const Pair pair(random, formula, 2100, special);
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
    const Pair pair(random, {.input = dtype, .target = dtype}, 1024 * 1024 + 1100, 5000);
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
