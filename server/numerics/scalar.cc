#include "server/numerics/scalar.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "server/numerics/kl_coefficients.h"
#include "server/numerics/reduce.h"

namespace kldiv::numerics::scalar {
namespace {

// The number type for kl_math-inl.h: one binary64 number.
struct Number {
  using Value = double;
  using Word = uint64_t;

  static Value Const(double c) { return c; }
  static Value Add(Value a, Value b) { return a + b; }
  static Value Sub(Value a, Value b) { return a - b; }
  static Value Mul(Value a, Value b) { return a * b; }
  // std::fma rounds once, whether or not the CPU has an instruction for it.
  static Value Fma(Value a, Value b, Value c) { return std::fma(a, b, c); }
  static Value FmaSub(Value a, Value b, Value c) { return std::fma(a, b, -c); }
  static Value NegFma(Value a, Value b, Value c) { return std::fma(-a, b, c); }

  static bool Less(Value a, Value b) { return a < b; }
  static bool Equal(Value a, Value b) { return a == b; }
  static Value Select(bool mask, Value a, Value b) { return mask ? a : b; }
  static Value NanIfNegative(Value v) { return v < 0 ? std::numeric_limits<double>::quiet_NaN() : v; }
  static Value Clamp(Value v) { return v < 1024 ? (v > -1024 ? v : -1024) : 1024; }

  static Word Bits(Value v) { return std::bit_cast<Word>(v); }
  static Value FromBits(Word w) { return std::bit_cast<Value>(w); }
  static Word WordConst(uint64_t c) { return c; }
  static Word WordAdd(Word a, Word b) { return a + b; }
  static Word WordSub(Word a, Word b) { return a - b; }
  static Word WordAnd(Word a, Word b) { return a & b; }
  static Word WordOr(Word a, Word b) { return a | b; }
  template <int n>
  static Word ShiftRight(Word w) {
    return w >> n;
  }
  template <int n>
  static Word ShiftLeft(Word w) {
    return w << n;
  }

  void Ln32Row(Word row, Value& inverse, Value& log) const {
    inverse = kLnInverse[row & 7];
    log = kLnLog[row & 7];
  }
  void Ln64Row(Word row, Value& inverse, Value& log_high, Value& log_low) const {
    inverse = kLnInverse[row & 7];
    log_high = kLnLogHigh[row & 7];
    log_low = kLnLogLow[row & 7];
  }
  Word Exp2Offset(Word row) const { return kExp2Offset[row & 7]; }
  static constexpr bool kHasScale = false;
};

namespace math {
#define KLDIV_MATH_FUNCTION inline
#define KLDIV_MATH_UNROLL
#include "server/numerics/kl_math-inl.h"
}  // namespace math

template <class T>
T Load(const void* tensor, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(tensor) + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

double HalfToDouble(uint16_t half) {
  const double sign = half >> 15 != 0 ? -1.0 : 1.0;
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  if (exponent == 31) {
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  return sign * (exponent != 0 ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24));
}

// Rounds to a format of kExponent and kFraction bits by its definition, in integers: a conversion through
// float would round twice.
template <int kExponent, int kFraction>
uint32_t RoundTo(double value) {
  constexpr uint32_t kInfinity = ((1u << kExponent) - 1) << kFraction;
  constexpr int kBias = (1 << (kExponent - 1)) - 1;
  if (value != value) return kInfinity | 1u << (kFraction - 1);

  const uint64_t bits = std::bit_cast<uint64_t>(value);
  const uint32_t sign = static_cast<uint32_t>(bits >> 63) << (kExponent + kFraction);
  const int exponent = static_cast<int>(bits >> 52 & 2047) - 1023;
  if (exponent == 1024) return sign | kInfinity;
  if (exponent == -1023) return sign;  // binary64's subnormals lie below half of anything in these formats

  const uint64_t significand = (bits & 0x000fffffffffffffu) | uint64_t{1} << 52;
  int field = exponent + kBias;
  int dropped = 52 - kFraction;
  if (field <= 0) {  // a subnormal: further bits go
    dropped += 1 - field;
    field = 0;
    if (dropped > 54) return sign;
  }
  const uint64_t kept = significand >> dropped;
  const uint64_t rest = significand & ((uint64_t{1} << dropped) - 1);
  const uint64_t half = uint64_t{1} << (dropped - 1);
  const uint64_t rounded = kept + (rest > half || (rest == half && (kept & 1) != 0) ? 1 : 0);
  // `rounded` has the leading one where the field counts: it carries into the exponent by itself.
  const uint64_t result = field == 0 ? rounded : (static_cast<uint64_t>(field - 1) << kFraction) + rounded;
  return sign | static_cast<uint32_t>(std::min<uint64_t>(result, kInfinity));
}

template <bool kWideTarget, bool kLogTarget>
double ElementOf(bool skip_zero_target, double x, double t) {
  return skip_zero_target ? math::Element<Number, kWideTarget, kLogTarget, true>(Number(), x, t)
                          : math::Element<Number, kWideTarget, kLogTarget, false>(Number(), x, t);
}

double ElementAt(const Formula& formula, const void* input, const void* target, int64_t index) {
  return Element(formula, Widen(formula.input, input, index), Widen(formula.target, target, index));
}

}  // namespace

double Widen(DType dtype, const void* tensor, int64_t index) {
  switch (dtype) {
    case DType::kFp16:
      return HalfToDouble(Load<uint16_t>(tensor, index));
    case DType::kBf16:
      return std::bit_cast<float>(static_cast<uint32_t>(Load<uint16_t>(tensor, index)) << 16);
    case DType::kFp32:
      return Load<float>(tensor, index);
    case DType::kFp64:
      break;
  }
  return Load<double>(tensor, index);
}

double Element(const Formula& formula, double x, double t) {
  const bool skip = formula.skip_zero_target;
  if (formula.target == DType::kFp64) {
    return formula.log_target ? ElementOf<true, true>(skip, x, t) : ElementOf<true, false>(skip, x, t);
  }
  return formula.log_target ? ElementOf<false, true>(skip, x, t) : ElementOf<false, false>(skip, x, t);
}

uint64_t Round(DType dtype, double value) {
  switch (dtype) {
    case DType::kFp16:
      return RoundTo<5, 10>(value);
    case DType::kBf16:
      return RoundTo<8, 7>(value);
    case DType::kFp32:
      return RoundTo<8, 23>(value);
    case DType::kFp64:
      break;
  }
  return std::bit_cast<uint64_t>(Canonical(value));
}

void TileSums(const Formula& formula, const void* input, const void* target, int64_t elements, double* sums) {
  double losses[kTileElements];
  for (int64_t first = 0; first < elements; first += kTileElements) {
    const int64_t count = std::min(kTileElements, elements - first);
    for (int64_t e = 0; e < count; ++e) losses[e] = ElementAt(formula, input, target, first + e);
    *sums++ = SumTile(losses, count);
  }
}

void Pointwise(const Formula& formula, const void* input, const void* target, int64_t elements, void* out) {
  const DType dtype = formula.output();
  const auto size = static_cast<size_t>(ElementSize(dtype));
  auto* bytes = static_cast<char*>(out);
  for (int64_t e = 0; e < elements; ++e, bytes += size) {
    const uint64_t bits = Round(dtype, ElementAt(formula, input, target, e));
    std::memcpy(bytes, &bits, size);  // little-endian hosts only, as x86-64 and AArch64 are
  }
}

double Fold(double* sums, int64_t count) { return FoldTileSums(sums, count, SumTile); }

double Ln(DType target, double t) {
  return target == DType::kFp64 ? math::Ln64<Number>(Number(), t) : math::Ln32<Number>(Number(), t);
}

double Exp(DType target, double t) {
  return target == DType::kFp64 ? math::Exp64<Number>(t) : math::Exp32<Number>(Number(), t);
}

}  // namespace kldiv::numerics::scalar
