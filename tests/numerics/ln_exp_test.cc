#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <random>

#include "server/numerics/scalar.h"
#include "tests/numerics/effort.h"

// LN and EXP against 80-bit long double, whose own error is near 2^-63. The worst errors are printed.
namespace kldiv::numerics::scalar {
namespace {

static_assert(std::numeric_limits<long double>::digits >= 64, "no wider arithmetic to compare with");

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double Ulp(double value) { return std::nextafter(std::fabs(value), kInfinity) - std::fabs(value); }
double Unit(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

class Worst {
 public:
  void See(long double error, double at) {
    ++count_;
    // Not `error > error_`: a NaN has to be the worst of all.
    if (!(error <= error_)) {
      error_ = error;
      at_ = at;
    }
  }
  long double error() const { return error_; }
  void Print(const char* what) const {
    std::printf("%s: %ld numbers, worst error %.4Lg (2^%.2Lf) at %a\n", what, count_, error_, log2l(error_),
                at_);
  }

 private:
  int64_t count_ = 0;
  long double error_ = 0;
  double at_ = 0;
};

// ---- Over floats, in order of their bits

double Ln32(double t) { return Ln(DType::kFp32, t); }
double Exp32(double t) { return Exp(DType::kFp32, t); }

void CheckLn32(uint32_t stride) {
  Worst worst;
  for (uint64_t bits = 1; bits < 0x7f800000u; bits += stride) {
    const auto t = static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    const long double exact = logl(t);
    const long double error = fabsl(Ln32(t) - exact);
    worst.See(t == 1 ? error : error / fabsl(exact), t);
  }
  worst.Print("LN32, relative");
  EXPECT_LT(worst.error(), 0x1p-46L);
}

// All floats whose e^t is neither 0 nor infinite, from the lowest to the highest.
void CheckExp32(uint32_t stride) {
  Worst worst;
  Worst worst_subnormal;
  double last = 0;
  int64_t falls = 0;
  const auto check = [&](int64_t bits) {
    const auto t = static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    const double value = Exp32(t);
    const long double exact = expl(t);
    const long double error = fabsl(value - exact);
    if (exact < 0x1p-1022L) {
      worst_subnormal.See((error - 0x1p-1075L) / exact, t);
    } else {
      worst.See(error / exact, t);
    }
    falls += value < last ? 1 : 0;
    last = value;
  };
  const int64_t lowest = std::bit_cast<uint32_t>(-745.2f);
  const int64_t highest = std::bit_cast<uint32_t>(std::nextafter(709.78271f, 0.0f));
  for (int64_t bits = lowest; bits >= 0x80000000; bits -= stride) check(bits);
  for (int64_t bits = 0; bits <= highest; bits += stride) check(bits);
  worst.Print("EXP32, relative");
  worst_subnormal.Print("EXP32, subnormal results, relative beyond 2^-1075");
  EXPECT_LT(worst.error(), 0x1p-46L);
  EXPECT_LT(worst_subnormal.error(), 0x1p-46L);
  EXPECT_EQ(falls, 0);
}

constexpr uint32_t kStride = 997 * static_cast<uint32_t>(kSlowdown);

TEST(Ln32, IsWithin2ToTheMinus46OnAStrideOfFloats) { CheckLn32(kStride); }
TEST(Exp32, IsWithin2ToTheMinus46AndMonotonicOnAStrideOfFloats) { CheckExp32(kStride); }

TEST(Ln32, IsWithin2ToTheMinus46OnAllPositiveFloats) {
  if (!SlowTests() || kSlowdown > 1) GTEST_SKIP() << "minutes: set KLDIV_SLOW=1, without sanitizers";
  CheckLn32(1);
}
TEST(Exp32, IsWithin2ToTheMinus46AndMonotonicOnAllFloats) {
  if (!SlowTests() || kSlowdown > 1) GTEST_SKIP() << "minutes: set KLDIV_SLOW=1, without sanitizers";
  CheckExp32(1);
}

// ---- On random doubles

int64_t Doubles() { return (SlowTests() ? 20'000'000 : 4'000'000) / kSlowdown; }

TEST(Ln64, IsWithinThreeQuartersOfAnUlp) {
  std::mt19937_64 random(1);
  const std::function<double()> kinds[] = {
      [&] { return std::bit_cast<double>(random() >> 1); },                               // any positive bits
      [&] { return 1 + static_cast<double>(static_cast<int64_t>(random())) * 0x1p-68; },  // next to 1
      [&] { return Unit(random); },
      [&] { return std::bit_cast<double>(random() >> 12); },  // subnormal
      [&] { return 0.9 + Unit(random) * 0.25; },
  };
  Worst worst;
  for (int64_t i = 0; i < Doubles(); ++i) {
    const double t = kinds[i % 5]();
    if (!(t > 0) || std::isinf(t) || t == 1) continue;
    const long double exact = logl(t);
    worst.See(fabsl(Ln(DType::kFp64, t) - exact) / Ulp(static_cast<double>(exact)), t);
  }
  worst.Print("LN64, in ulp");
  EXPECT_LE(worst.error(), 0.7505L);  // 0.75 and long double's own error
  EXPECT_EQ(Ln(DType::kFp64, 1), 0.0);
}

TEST(Exp64, IsWithin085UlpAndThreeQuartersWhereSubnormal) {
  std::mt19937_64 random(2);
  const std::function<double()> kinds[] = {
      [&] { return (Unit(random) - 0.5) * 2 * 745; },
      [&] { return -20 * Unit(random); },
      [&] { return (Unit(random) - 0.5) * 2; },
  };
  Worst worst;
  Worst worst_subnormal;
  for (int64_t i = 0; i < Doubles(); ++i) {
    const double t = kinds[i % 3]();
    if (t > 709.7) continue;
    const long double exact = expl(t);
    const long double error = fabsl(Exp(DType::kFp64, t) - exact) / Ulp(static_cast<double>(exact));
    (exact < 0x1p-1022L ? worst_subnormal : worst).See(error, t);
  }
  worst.Print("EXP64, in ulp");
  worst_subnormal.Print("EXP64, subnormal results, in ulp");
  EXPECT_LE(worst.error(), 0.85L);
  EXPECT_LE(worst_subnormal.error(), 0.75L);
}

// ---- Ends

TEST(Ln, IsFiniteAtZerosBecauseTheElementCountsOnIt) {
  for (const DType dtype : {DType::kFp32, DType::kFp64}) {
    EXPECT_TRUE(std::isfinite(Ln(dtype, 0.0)));
    EXPECT_TRUE(std::isfinite(Ln(dtype, -0.0)));
  }
}

TEST(Exp, EndsInZeroAndInfinity) {
  for (const DType dtype : {DType::kFp32, DType::kFp64}) {
    const auto is_plus_zero = [&](double t) { return std::bit_cast<uint64_t>(Exp(dtype, t)) == 0; };
    EXPECT_EQ(Exp(dtype, 0.0), 1.0);
    EXPECT_EQ(Exp(dtype, -0.0), 1.0);
    EXPECT_TRUE(is_plus_zero(-kInfinity));
    EXPECT_TRUE(is_plus_zero(-3e38));
    EXPECT_TRUE(is_plus_zero(-745.2));
    EXPECT_EQ(Exp(dtype, -744.5), 0x1p-1074);
    EXPECT_EQ(Exp(dtype, 709.9), kInfinity);
    EXPECT_EQ(Exp(dtype, 3e38), kInfinity);
    EXPECT_EQ(Exp(dtype, kInfinity), kInfinity);
  }
}

}  // namespace
}  // namespace kldiv::numerics::scalar
