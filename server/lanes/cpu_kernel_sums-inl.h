// Tile sums. Included once per Highway target.
#if defined(KLDIV_SERVER_LANES_CPU_KERNEL_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KLDIV_SERVER_LANES_CPU_KERNEL_SUMS_INL_H_
#undef KLDIV_SERVER_LANES_CPU_KERNEL_SUMS_INL_H_
#else
#define KLDIV_SERVER_LANES_CPU_KERNEL_SUMS_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "server/lanes/cpu_kernel_number-inl.h"
#include "server/numerics/reduce.h"

HWY_BEFORE_NAMESPACE();
namespace kldiv::cpu_kernel {
namespace HWY_NAMESPACE {

using numerics::kAccumulators;

// The accumulators of a tile of `count` elements, in memory: 1 KiB that stays in the L1 cache, so that a tile
// is read in the order in which it lies. Holding some in registers and striding through the tile is no faster
// in the cache and half as fast from memory.
//
// Of a short tile, only the first `used_` are ever touched: all others stay +0, and adding +0 to a sum
// changes nothing, because no accumulator is -0.
class Accumulators {
 public:
  explicit HWY_INLINE Accumulators(int64_t count)
      : used_(count > kMedium  ? kAccumulators
              : count > kShort ? kMedium
                               : kShort) {
    for (int64_t e = 0; e < used_; e += kLanes) hn::Store(hn::Zero(Doubles()), Doubles(), sums_ + e);
  }

  // Adds the values of the elements from `first` on, a multiple of their number.
  template <int kVectors>
  HWY_INLINE void Add(int64_t first, typename Number<kVectors>::Value values) {
    double* sums = sums_ + first % kAccumulators;
    for (int i = 0; i < kVectors; ++i, sums += kLanes) {
      hn::Store(hn::Add(hn::Load(Doubles(), sums), values.v[i]), Doubles(), sums);
    }
  }

  HWY_INLINE double Sum() const {
    if (used_ == kAccumulators) return SumFirst<kAccumulators>();
    return used_ == kMedium ? SumFirst<kMedium>() : SumFirst<kShort>();
  }

 private:
  static constexpr int kShort = 16;
  static constexpr int kMedium = 32;

  using Pair = hn::Vec<hn::FixedTag<double, 2>>;

  // {a[0] + a[1], a[2] + a[3]}
  static HWY_INLINE Pair AddNeighbours(Pair first, Pair second) {
    const hn::FixedTag<double, 2> tag;
    return hn::Add(hn::ConcatEven(tag, second, first), hn::ConcatOdd(tag, second, first));
  }

  template <int kUsed>
  HWY_INLINE double SumFirst() const {
    const hn::FixedTag<double, 2> tag;
    constexpr int kPairs = kUsed / 8;
    Pair b[kPairs];
    HWY_UNROLL(16)
    for (int j = 0; j < kPairs; ++j) {
      const double* a = sums_ + 8 * j;
      const auto front = AddNeighbours(hn::Load(tag, a), hn::Load(tag, a + 2));
      const auto back = AddNeighbours(hn::Load(tag, a + 4), hn::Load(tag, a + 6));
      b[j] = AddNeighbours(front, back);
    }
    HWY_UNROLL(4)
    for (int half = kPairs / 2; half >= 1; half /= 2) {
      HWY_UNROLL(8)
      for (int j = 0; j < half; ++j) b[j] = hn::Add(b[j], b[j + half]);
    }
    return hn::GetLane(hn::Add(b[0], hn::Reverse2(tag, b[0])));
  }

  HWY_ALIGN double sums_[kAccumulators];
  const int used_;
};

// Whether one of a tile's targets is below zero. Rarely asked.
template <DType kDType>
HWY_NOINLINE bool AnyNegative(const uint8_t* target, int64_t count) {
  constexpr int64_t kSize = numerics::ElementSize(kDType);
  for (int64_t e = 0; e < count; e += kLanes) {
    const auto t = LoadFirst<kDType>(target + e * kSize, std::min(kLanes, count - e));
    if (!hn::AllFalse(Doubles(), hn::Lt(t, hn::Zero(Doubles())))) return true;
  }
  return false;
}

// The sum of a tile of 1 to 1024 elements, both tensors being of the same dtype.
//
// Elements with t < 0 are not looked for: the targets' sign bits are or-ed together, and only a tile that has
// one is looked through. With one t < 0 its sum is NaN, whatever the rest; -0 has come out right by itself.
template <DType kDType, bool kLogTarget, bool kSkipZero>
HWY_INLINE double SumOfTile(const uint8_t* HWY_RESTRICT input, const uint8_t* HWY_RESTRICT target,
                            int64_t count) {
  constexpr int64_t kSize = numerics::ElementSize(kDType);
  constexpr int kVectors = 4;
  constexpr int64_t kStep = kVectors * kLanes;
  constexpr bool kWide = kDType == DType::kFp64;

  Accumulators sums(count);
  Word signs = hn::Zero(Words());
  int64_t e = 0;
  for (; e + kStep <= count; e += kStep) {
    using Numbers = Number<kVectors>;
    const auto t = LoadVectors<kDType, kVectors>(target + e * kSize);
    typename Numbers::Value x;
    if constexpr (kLogTarget) x = LoadVectors<kDType, kVectors>(input + e * kSize);
    if constexpr (!kLogTarget) {
      const auto bits = Numbers::Bits(t);
      signs = hn::Or3(signs, bits.v[0], bits.v[1]);
      signs = hn::Or3(signs, bits.v[2], bits.v[3]);
    }
    const auto term = TargetTerm<Numbers, kWide, kLogTarget, true>({}, t);
    // Only now, because LN has use for all registers.
    if constexpr (!kLogTarget) x = LoadVectors<kDType, kVectors>(input + e * kSize);
    sums.Add<kVectors>(e, Loss<Numbers, kLogTarget, kSkipZero>(term, x, t));
  }
  // Padded with x = t = 0, whose loss is +0 in every formula.
  for (; e < count; e += kLanes) {
    const int64_t rest = std::min(kLanes, count - e);
    const Number<1>::Value t{{LoadFirst<kDType>(target + e * kSize, rest)}};
    const Number<1>::Value x{{LoadFirst<kDType>(input + e * kSize, rest)}};
    if constexpr (!kLogTarget) signs = hn::Or(signs, Number<1>::Bits(t).v[0]);
    const auto term = TargetTerm<Number<1>, kWide, kLogTarget, true>({}, t);
    sums.Add<1>(e, Loss<Number<1>, kLogTarget, kSkipZero>(term, x, t));
  }
  if constexpr (!kLogTarget) {
    const hn::ScalableTag<int64_t> signed_words;
    const auto negative = hn::Lt(hn::BitCast(signed_words, signs), hn::Zero(signed_words));
    if (HWY_UNLIKELY(!hn::AllFalse(signed_words, negative)) && AnyNegative<kDType>(target, count)) {
      return std::numeric_limits<double>::quiet_NaN();
    }
  }
  return sums.Sum();
}

template <DType kDType, bool kLogTarget, bool kSkipZero>
HWY_NOINLINE void SumsOfTiles(const uint8_t* HWY_RESTRICT input, const uint8_t* HWY_RESTRICT target,
                              int64_t elements, double* HWY_RESTRICT sums) {
  constexpr int64_t kTileBytes = numerics::kTileElements * numerics::ElementSize(kDType);
  for (; elements > 0; elements -= numerics::kTileElements) {
    *sums++ =
        SumOfTile<kDType, kLogTarget, kSkipZero>(input, target, std::min(numerics::kTileElements, elements));
    input += kTileBytes;
    target += kTileBytes;
  }
}

// The sum of a tile of 0 to 1024 values.
HWY_NOINLINE double SumOfValues(const double* values, int64_t count) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(values);
  Accumulators sums(count);
  int64_t e = 0;
  for (; e + kLanes <= count; e += kLanes) sums.Add<1>(e, {{hn::LoadU(Doubles(), values + e)}});
  if (e < count) sums.Add<1>(e, {{LoadFirst<DType::kFp64>(bytes + e * int64_t{sizeof(double)}, count - e)}});
  return sums.Sum();
}

}  // namespace HWY_NAMESPACE
}  // namespace kldiv::cpu_kernel
HWY_AFTER_NAMESPACE();

#endif  // KLDIV_SERVER_LANES_CPU_KERNEL_SUMS_INL_H_
