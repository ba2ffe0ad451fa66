// Pointwise losses. Included once per Highway target.
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

// ---- Rounding once, from binary64 to the output's dtype

// `rounded`, and the canonical NaN where `v` is one, which every conversion makes the canonical one of its
// format.
HWY_INLINE Double CanonicalWhereNaN(Double v, Double rounded) {
  const auto nan = hn::BitCast(Doubles(), hn::Set(Words(), uint64_t{0x7ff8000000000000u}));
  return hn::IfThenElse(hn::Eq(v, v), rounded, nan);
}

// v in 16 bits of significand, of which the last is 1 where v has more: whatever rounds this to nearest, to
// 14 bits or less, goes the way that v goes. A binary32 number holds it exactly, so that a conversion does
// not round; where that one is subnormal, all of it down to half of the smallest bfloat16, 2^-134, below
// which the answer is 0.
HWY_INLINE Double RoundToOdd(Double v) {
  const auto dropped = hn::Set(Words(), (uint64_t{1} << 37) - 1);
  const auto bits = hn::BitCast(Words(), v);
  // Carries into the last bit that stays unless all dropped ones are 0.
  const auto sticky = hn::Add(hn::And(bits, dropped), dropped);
  return hn::BitCast(Doubles(), hn::AndNot(dropped, hn::Or(bits, sticky)));
}

template <DType>
struct Rounding;
template <>
struct Rounding<DType::kFp16> {
  using Tag = Halves;
  static HWY_INLINE hn::Vec<Tag> Round(Double v) {
    const auto exact = hn::DemoteTo(Floats(), CanonicalWhereNaN(v, RoundToOdd(v)));
    return hn::BitCast(Tag(), hn::DemoteTo(hn::Rebind<hwy::float16_t, Doubles>(), exact));
  }
};
template <>
struct Rounding<DType::kBf16> {
  using Tag = Halves;
  static HWY_INLINE hn::Vec<Tag> Round(Double v) {
    const hn::Rebind<uint32_t, Doubles> tag;
    const auto exact = hn::DemoteTo(Floats(), CanonicalWhereNaN(v, RoundToOdd(v)));
    // To nearest even, by carrying into the upper half.
    const auto bits = hn::BitCast(tag, exact);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(tag, 1));
    const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(tag, 0x7fff)));
    return hn::DemoteTo(Tag(), hn::BitCast(hn::Rebind<int32_t, Doubles>(), hn::ShiftRight<16>(rounded)));
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

// kVectors vectors of losses to element `first` of the output.
template <DType kDType, int kVectors>
HWY_INLINE void StoreRounded(typename Number<kVectors>::Value losses, int64_t first, uint8_t* out) {
  using Tag = typename Rounding<kDType>::Tag;
  auto* to = reinterpret_cast<hn::TFromD<Tag>*>(out + first * numerics::ElementSize(kDType));
  ForEachVector<kVectors>(
      [&](int i) HWY_ATTR { hn::StoreU(Rounding<kDType>::Round(losses.v[i]), Tag(), to + i * kLanes); });
}

template <int kVectors>
HWY_INLINE void StoreRounded(DType dtype, typename Number<kVectors>::Value losses, int64_t first,
                             uint8_t* out) {
  switch (dtype) {
    case DType::kFp16:
      return StoreRounded<DType::kFp16, kVectors>(losses, first, out);
    case DType::kBf16:
      return StoreRounded<DType::kBf16, kVectors>(losses, first, out);
    case DType::kFp32:
      return StoreRounded<DType::kFp32, kVectors>(losses, first, out);
    case DType::kFp64:
      return StoreRounded<DType::kFp64, kVectors>(losses, first, out);
  }
}

template <bool kWideTarget, bool kLogTarget, bool kSkipZero>
HWY_NOINLINE void Losses(AnyTensor input, AnyTensor target, DType output, int64_t elements, uint8_t* out) {
  constexpr int kVectors = 4;
  constexpr int64_t kStep = kVectors * kLanes;
  using Numbers = Number<kVectors>;

  int64_t e = 0;
  for (; e + kStep <= elements; e += kStep) {
    const auto t = target.Load<kVectors>(e);
    const auto term = TargetTerm<Numbers, kWideTarget, kLogTarget, false>({}, t);
    const auto x = input.Load<kVectors>(e);
    StoreRounded<kVectors>(output, Loss<Numbers, kLogTarget, kSkipZero>(term, x, t), e, out);
  }
  for (; e < elements; e += kLanes) {
    const int64_t count = std::min(kLanes, elements - e);
    const auto t = target.LoadFirst(e, count);
    const auto x = input.LoadFirst(e, count);
    const auto loss = Element<Number<1>, kWideTarget, kLogTarget, kSkipZero>({}, x, t);
    HWY_ALIGN uint8_t last[kLanes * sizeof(double)];
    StoreRounded<1>(output, loss, 0, last);
    const auto size = static_cast<size_t>(numerics::ElementSize(output));
    std::memcpy(out + static_cast<size_t>(e) * size, last, static_cast<size_t>(count) * size);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kldiv::cpu_kernel
HWY_AFTER_NAMESPACE();

#endif  // KLDIV_SERVER_LANES_CPU_KERNEL_POINTWISE_INL_H_
