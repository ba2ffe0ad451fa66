#include "server/numerics/scalar.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "tests/numerics/effort.h"
#include "tests/numerics/random_tensor.h"

namespace kldiv::numerics::scalar {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

constexpr Formula kPlain = {};
constexpr Formula kLog = {.log_target = true};
constexpr Formula kSkip = {.skip_zero_target = true};
constexpr Formula kLogSkip = {.log_target = true, .skip_zero_target = true};

bool IsPlusZero(double value) { return std::bit_cast<uint64_t>(value) == 0; }

TEST(Widen, GivesEveryHalfItsValue) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const double value = Widen(DType::kFp16, &half, 0);
    const int exponent = half >> 10 & 31;
    const double fraction = half & 1023;
    if (exponent == 31 && fraction != 0) {
      EXPECT_TRUE(std::isnan(value));
      continue;
    }
    double magnitude = kInfinity;
    if (exponent == 0) magnitude = fraction * 0x1p-24;
    if (exponent > 0 && exponent < 31) magnitude = (1 + fraction / 1024) * std::exp2(exponent - 15);
    EXPECT_EQ(value, half >> 15 != 0 ? -magnitude : magnitude) << bits;
    EXPECT_EQ(std::signbit(value), half >> 15 != 0) << bits;
  }
}

TEST(Widen, TakesABfloat16AsTheUpperHalfOfAFloat) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto upper = static_cast<uint16_t>(bits);
    const double value = Widen(DType::kBf16, &upper, 0);
    const auto want = static_cast<double>(std::bit_cast<float>(bits << 16));
    if (std::isnan(want)) {
      EXPECT_TRUE(std::isnan(value));
    } else {
      EXPECT_EQ(std::bit_cast<uint64_t>(value), std::bit_cast<uint64_t>(want)) << bits;
    }
  }
}

TEST(Widen, ReadsElementsAtAnyAddress) {
  std::vector<char> bytes(1 + 3 * sizeof(double));
  const double values[3] = {1.5, -2.5, 5e-324};
  std::memcpy(&bytes[1], values, sizeof(values));
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(Widen(DType::kFp64, &bytes[1], i), values[i]);
}

TEST(Round, IsTheInverseOfWiden) {
  for (const DType dtype : {DType::kFp16, DType::kBf16}) {
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
      const auto element = static_cast<uint16_t>(bits);
      const double value = Widen(dtype, &element, 0);
      if (!std::isnan(value)) {
        EXPECT_EQ(Round(dtype, value), bits);
      }
    }
  }
}

// Between two neighbours of a 16-bit format: just below the middle, the middle, just above.
TEST(Round, GoesToTheNearestAndFromTheMiddleToTheEven) {
  for (const DType dtype : {DType::kFp16, DType::kBf16}) {
    const uint32_t infinity = dtype == DType::kFp16 ? 0x7c00 : 0x7f80;
    for (uint32_t bits = 0; bits + 1 < infinity; ++bits) {
      const auto low = static_cast<uint16_t>(bits);
      const auto high = static_cast<uint16_t>(bits + 1);
      const double middle = (Widen(dtype, &low, 0) + Widen(dtype, &high, 0)) / 2;
      const uint32_t even = (bits & 1) != 0 ? bits + 1 : bits;
      EXPECT_EQ(Round(dtype, std::nextafter(middle, 0)), bits);
      EXPECT_EQ(Round(dtype, middle), even);
      EXPECT_EQ(Round(dtype, std::nextafter(middle, kInfinity)), bits + 1);
      const uint32_t sign = 0x8000;
      EXPECT_EQ(Round(dtype, -std::nextafter(middle, 0)), sign | bits);
      EXPECT_EQ(Round(dtype, -middle), sign | even);
    }
  }
}

TEST(Round, OverflowsToInfinityWhereRoundingDoes) {
  EXPECT_EQ(Round(DType::kFp16, 65519.999), 0x7bffu);
  EXPECT_EQ(Round(DType::kFp16, 65520), 0x7c00u);
  EXPECT_EQ(Round(DType::kFp16, -1e300), 0xfc00u);
  EXPECT_EQ(Round(DType::kBf16, 0x1.feffffffffp127), 0x7f7fu);
  EXPECT_EQ(Round(DType::kBf16, 0x1.ffp127), 0x7f80u);
  EXPECT_EQ(Round(DType::kFp32, 0x1.ffffffp127), 0x7f800000u);
  EXPECT_EQ(Round(DType::kFp32, -kInfinity), 0xff800000u);
}

TEST(Round, AgreesWithTheCpuForFloats) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1'000'000 / kSlowdown; ++i) {
    double value = std::bit_cast<double>(random());
    if (i % 2 == 0)
      value = std::ldexp(1 + static_cast<double>(random() >> 12) * 0x1p-52,
                         static_cast<int>(random() % 310) - 160);
    if (std::isnan(value)) continue;
    volatile double input = value;
    EXPECT_EQ(Round(DType::kFp32, value), std::bit_cast<uint32_t>(static_cast<float>(input))) << value;
  }
}

TEST(Round, MakesEveryNaNCanonical) {
  for (const double nan : {kNaN, -kNaN, std::bit_cast<double>(uint64_t{0xfff123456789abcdu})}) {
    EXPECT_EQ(Round(DType::kFp16, nan), 0x7e00u);
    EXPECT_EQ(Round(DType::kBf16, nan), 0x7fc0u);
    EXPECT_EQ(Round(DType::kFp32, nan), 0x7fc00000u);
    EXPECT_EQ(Round(DType::kFp64, nan), 0x7ff8000000000000u);
  }
}

TEST(Element, IsZeroAtAZeroTargetUnlessTheInputIsInfinite) {
  EXPECT_TRUE(IsPlusZero(Element(kPlain, 0.0, 0.0)));
  EXPECT_TRUE(IsPlusZero(Element(kPlain, 0.0, -0.0)));
  EXPECT_EQ(Element(kPlain, -3.0, 0.0), 0.0);
  EXPECT_EQ(Element(kPlain, -3.0, -0.0), 0.0);
  EXPECT_TRUE(std::isnan(Element(kPlain, -kInfinity, 0.0)));
  EXPECT_TRUE(std::isnan(Element(kPlain, kNaN, 0.0)));
}

TEST(Element, IsNaNAtANegativeTarget) {
  EXPECT_TRUE(std::isnan(Element(kPlain, -1.0, -1e-300)));
  EXPECT_TRUE(std::isnan(Element(kSkip, -1.0, -1.0)));
  EXPECT_TRUE(std::isnan(Element(kPlain, -1.0, -kInfinity)));
}

TEST(Element, IsInfiniteWhereTheInputExcludesWhatIsObserved) {
  EXPECT_EQ(Element(kPlain, -kInfinity, 0.25), kInfinity);
  EXPECT_EQ(Element(kPlain, -1.0, kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(Element(kPlain, kInfinity, kInfinity)));
}

TEST(Element, WithLogTargetIsNaNAtMinusInfinity) {
  EXPECT_TRUE(std::isnan(Element(kLog, -1.0, -kInfinity)));
  EXPECT_EQ(Element(kLog, -kInfinity, -1.0), kInfinity);
}

TEST(Element, SkipsZeroTargetsUnlessTheInputIsNaN) {
  for (const double zero : {0.0, -0.0}) {
    EXPECT_TRUE(IsPlusZero(Element(kSkip, -kInfinity, zero)));
    EXPECT_TRUE(IsPlusZero(Element(kSkip, kInfinity, zero)));
    EXPECT_TRUE(std::isnan(Element(kSkip, kNaN, zero)));
  }
  EXPECT_TRUE(IsPlusZero(Element(kLogSkip, -kInfinity, -kInfinity)));
  EXPECT_TRUE(std::isnan(Element(kLogSkip, kNaN, -kInfinity)));
  EXPECT_EQ(Element(kSkip, -1.0, 0.5), Element(kPlain, -1.0, 0.5));
}

// An exponential that underflows is no zero target: x = -inf times 0 stays NaN.
TEST(Element, DoesNotSkipWhatOnlyUnderflows) {
  EXPECT_TRUE(std::isnan(Element(kLogSkip, -kInfinity, -1000.0)));
}

TEST(Element, StaysFiniteWhereFloatArithmeticOverflows) {
  EXPECT_EQ(Element(kLog, 100.0, 100.0), 0.0);  // e^100 exceeds a float
}

TEST(Element, OverflowsWhereBinary64Does) {
  const Formula wide = {.input = DType::kFp64, .target = DType::kFp64};
  EXPECT_TRUE(std::isinf(Element(wide, 1e3, 1e306)));  // t ln t overflows before t x is taken away
}

TEST(TileSums, OfASingleElementIsNeverMinusZero) {
  const double x = -1.0;
  const double t = -800.0;
  const Formula formula = {.input = DType::kFp64, .target = DType::kFp64, .log_target = true};
  ASSERT_TRUE(std::signbit(Element(formula, x, t)));
  double sum = 1;
  TileSums(formula, &x, &t, 1, &sum);
  EXPECT_TRUE(IsPlusZero(sum));
}

TEST(TileSums, WritesOneSumATileAndNothingForNothing) {
  std::mt19937_64 random(4);
  const auto x = RandomTensor(random, DType::kFp32, 2049, Contents::kLogProbabilities, 0);
  const auto t = RandomTensor(random, DType::kFp32, 2049, Contents::kProbabilities, 0);
  std::vector<double> sums(4, -7.0);
  TileSums(kPlain, x.data(), t.data(), 2049, sums.data());
  EXPECT_NE(sums[2], -7.0);
  EXPECT_EQ(sums[3], -7.0);
  TileSums(kPlain, x.data(), t.data(), 0, &sums[3]);
  EXPECT_EQ(sums[3], -7.0);
}

TEST(Pointwise, AnswersInThePromotedDType) {
  const uint16_t half = 0xbc00;      // -1
  const uint16_t bfloat16 = 0x3f00;  // 0.5
  const Formula formula = {.input = DType::kFp16, .target = DType::kBf16};
  ASSERT_EQ(formula.output(), DType::kFp32);
  float loss = 0;
  Pointwise(formula, &half, &bfloat16, 1, &loss);
  EXPECT_EQ(loss, static_cast<float>(0.5 * std::log(0.5) + 0.5));
}

}  // namespace
}  // namespace kldiv::numerics::scalar
