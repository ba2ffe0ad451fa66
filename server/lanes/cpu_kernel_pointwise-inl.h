// Losses tile by tile through buffers of binary64 numbers: for pointwise answers and for tensors of two
// dtypes. Three passes over buffers that stay in the L1 cache (widen, evaluate, round) instead of one with
// sixteen pairs of dtypes compiled into it, which would be 1.5 times as fast and ten times the code. Included
// once per Highway target.
#if defined(KLDIV_SERVER_LANES_CPU_KERNEL_POINTWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KLDIV_SERVER_LANES_CPU_KERNEL_POINTWISE_INL_H_
#undef KLDIV_SERVER_LANES_CPU_KERNEL_POINTWISE_INL_H_
#else
#define KLDIV_SERVER_LANES_CPU_KERNEL_POINTWISE_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "server/lanes/cpu_kernel_number-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kldiv::cpu_kernel {
namespace HWY_NAMESPACE {

inline constexpr int64_t kBufferVectors = 4;  // as many as are evaluated side by side

// A buffer's size for `count` values: whole steps of the evaluation.
constexpr int64_t Padded(int64_t count) {
  constexpr int64_t kStep = kBufferVectors * kLanes;
  return (count + kStep - 1) / kStep * kStep;
}

// A tile's elements as binary64 numbers, and zeros up to Padded(count).
template <DType kDType>
HWY_NOINLINE void WidenTile(const uint8_t* HWY_RESTRICT from, int64_t count, double* HWY_RESTRICT to) {
  constexpr int64_t kSize = numerics::ElementSize(kDType);
  int64_t e = 0;
  for (; e + kLanes <= count; e += kLanes) hn::Store(Load<kDType>(from + e * kSize), Doubles(), to + e);
  if (e < count) {
    hn::Store(LoadFirst<kDType>(from + e * kSize, count - e), Doubles(), to + e);
    e += kLanes;
  }
  for (; e < Padded(count); e += kLanes) hn::Store(hn::Zero(Doubles()), Doubles(), to + e);
}

inline void WidenTile(DType dtype, const uint8_t* from, int64_t count, double* to) {
  switch (dtype) {
    case DType::kFp16:
      return WidenTile<DType::kFp16>(from, count, to);
    case DType::kBf16:
      return WidenTile<DType::kBf16>(from, count, to);
    case DType::kFp32:
      return WidenTile<DType::kFp32>(from, count, to);
    case DType::kFp64:
      return WidenTile<DType::kFp64>(from, count, to);
  }
}

// Replaces each x by its loss.
template <bool kWideTarget, bool kLogTarget, bool kSkipZero>
HWY_NOINLINE void EvaluateTile(double* HWY_RESTRICT x, const double* HWY_RESTRICT t, int64_t count) {
  using Numbers = Number<kBufferVectors>;
  for (int64_t e = 0; e < count; e += kBufferVectors * kLanes) {
    typename Numbers::Value xs, ts;
    for (int i = 0; i < kBufferVectors; ++i) {
      xs.v[i] = hn::Load(Doubles(), x + e + i * kLanes);
      ts.v[i] = hn::Load(Doubles(), t + e + i * kLanes);
    }
    const auto losses = Element<Numbers, kWideTarget, kLogTarget, kSkipZero>({}, xs, ts);
    for (int i = 0; i < kBufferVectors; ++i) hn::Store(losses.v[i], Doubles(), x + e + i * kLanes);
  }
}

template <bool kWideTarget>
void EvaluateTile(const numerics::Formula& formula, double* x, const double* t, int64_t count) {
  if (formula.log_target) {
    return formula.skip_zero_target ? EvaluateTile<kWideTarget, true, true>(x, t, count)
                                    : EvaluateTile<kWideTarget, true, false>(x, t, count);
  }
  return formula.skip_zero_target ? EvaluateTile<kWideTarget, false, true>(x, t, count)
                                  : EvaluateTile<kWideTarget, false, false>(x, t, count);
}

// A tile's losses.
class TileLosses {
 public:
  // Of the elements first .. first + count - 1 of a pair; `count` is at most a tile's.
  void Evaluate(const numerics::Formula& formula, const uint8_t* input, const uint8_t* target, int64_t first,
                int64_t count) {
    WidenTile(formula.input, input + first * numerics::ElementSize(formula.input), count, x_);
    WidenTile(formula.target, target + first * numerics::ElementSize(formula.target), count, t_);
    if (formula.target == DType::kFp64) {
      EvaluateTile<true>(formula, x_, t_, count);
    } else {
      EvaluateTile<false>(formula, x_, t_, count);
    }
  }

  const double* values() const { return x_; }

 private:
  HWY_ALIGN double x_[numerics::kTileElements];
  HWY_ALIGN double t_[numerics::kTileElements];
};

// ---- Rounding once, from binary64 to the output's dtype

// `rounded`, and the canonical NaN where `v` is one, which every conversion makes the canonical one of its
// format.
HWY_INLINE Double CanonicalWhereNaN(Double v, Double rounded) {
  const auto nan = hn::BitCast(Doubles(), hn::Set(Words(), uint64_t{0x7ff8000000000000u}));
  return hn::IfThenElse(hn::Eq(v, v), rounded, nan);
}

// v rounded to kFraction bits after the leading one, and to no less than 2^(kMinExponent - kFraction), all of
// which binary32 holds exactly: a conversion then has nothing left to round. What is too large for the format
// stays so.
//
// In a + c, with c a power of two 52 - kFraction above a's, the last bit is worth what the rounded value's
// last bit is, so the addition rounds and the subtraction of c is exact.
template <int kFraction, int kMinExponent>
HWY_INLINE Double RoundFraction(Double v) {
  const Doubles tag;
  const auto power = [&](int exponent) HWY_ATTR {
    return hn::BitCast(tag, hn::Set(Words(), static_cast<uint64_t>(1023 + exponent) << 52));
  };
  const auto magnitude = hn::Min(hn::Abs(v), power(130));  // so that c stays finite; beyond every format
  const auto leading = hn::And(magnitude, hn::BitCast(tag, hn::Set(Words(), uint64_t{0x7ff0000000000000u})));
  const auto c = hn::Mul(hn::Max(leading, power(kMinExponent)), power(52 - kFraction));
  return hn::CopySign(hn::Sub(hn::Add(magnitude, c), c), v);
}

template <DType>
struct Rounding;
template <>
struct Rounding<DType::kFp16> {
  using Tag = Halves;
  static HWY_INLINE hn::Vec<Tag> Round(Double v) {
    const auto rounded = hn::DemoteTo(Floats(), CanonicalWhereNaN(v, RoundFraction<10, -14>(v)));
    return hn::BitCast(Tag(), hn::DemoteTo(hn::Rebind<hwy::float16_t, Doubles>(), rounded));
  }
};
template <>
struct Rounding<DType::kBf16> {
  using Tag = Halves;
  static HWY_INLINE hn::Vec<Tag> Round(Double v) {
    const auto rounded = hn::DemoteTo(Floats(), CanonicalWhereNaN(v, RoundFraction<7, -126>(v)));
    const hn::Rebind<int32_t, Doubles> words;
    const auto upper = hn::ShiftRight<16>(hn::BitCast(hn::Rebind<uint32_t, Doubles>(), rounded));
    return hn::DemoteTo(Tag(), hn::BitCast(words, upper));
  }
};
template <>
struct Rounding<DType::kFp32> {
  using Tag = Floats;
  static HWY_INLINE hn::Vec<Tag> Round(Double v) { return hn::DemoteTo(Tag(), CanonicalWhereNaN(v, v)); }
};
template <>
struct Rounding<DType::kFp64> {
  using Tag = Doubles;
  static HWY_INLINE hn::Vec<Tag> Round(Double v) { return CanonicalWhereNaN(v, v); }
};

template <DType kDType>
HWY_NOINLINE void RoundTile(const double* HWY_RESTRICT values, int64_t count, uint8_t* HWY_RESTRICT out) {
  using Tag = typename Rounding<kDType>::Tag;
  using T = hn::TFromD<Tag>;
  int64_t e = 0;
  for (; e + kLanes <= count; e += kLanes) {
    const auto rounded = Rounding<kDType>::Round(hn::Load(Doubles(), values + e));
    hn::StoreU(rounded, Tag(), reinterpret_cast<T*>(out + e * int64_t{sizeof(T)}));
  }
  if (e < count) {
    HWY_ALIGN T last[kLanes];
    hn::Store(Rounding<kDType>::Round(hn::Load(Doubles(), values + e)), Tag(), last);
    std::memcpy(out + e * int64_t{sizeof(T)}, last, static_cast<size_t>(count - e) * sizeof(T));
  }
}

inline void RoundTile(DType dtype, const double* values, int64_t count, uint8_t* out) {
  switch (dtype) {
    case DType::kFp16:
      return RoundTile<DType::kFp16>(values, count, out);
    case DType::kBf16:
      return RoundTile<DType::kBf16>(values, count, out);
    case DType::kFp32:
      return RoundTile<DType::kFp32>(values, count, out);
    case DType::kFp64:
      return RoundTile<DType::kFp64>(values, count, out);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kldiv::cpu_kernel
HWY_AFTER_NAMESPACE();

#endif  // KLDIV_SERVER_LANES_CPU_KERNEL_POINTWISE_INL_H_
