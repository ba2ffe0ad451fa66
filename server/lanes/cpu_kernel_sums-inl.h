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
// A short tile, of kShort elements or less, touches only as many: all others stay +0, and adding +0 to a sum
// changes nothing, because no accumulator is -0.
class Accumulators {
 public:
  static constexpr int64_t kShort = 32;

  explicit HWY_INLINE Accumulators(int64_t count) {
    if (count <= kShort) {
      Clear<kShort>();
    } else {
      Clear<kAccumulators>();
    }
  }

  // Adds the values of the elements from `first` on, a multiple of their number.
  template <int kVectors>
  HWY_INLINE void Add(int64_t first, typename Number<kVectors>::Value values) {
    double* sums = sums_ + first % kAccumulators;
    ForEachVector<kVectors>([&](int i) HWY_ATTR {
      double* const sum = sums + i * kLanes;
      hn::Store(hn::Add(hn::Load(Doubles(), sum), values.v[i]), Doubles(), sum);
    });
  }

  // Of a tile of `count` elements, as before.
  HWY_INLINE double Sum(int64_t count) const {
    if (count <= kShort / 2) return SumFirst<kShort / 2>();
    if (count <= kShort) return SumFirst<kShort>();
    return SumFirst<kAccumulators>();
  }

 private:
  template <int64_t kUsed>
  HWY_INLINE void Clear() {
    HWY_UNROLL(8)
    for (int64_t e = 0; e < kUsed; e += kLanes) hn::Store(hn::Zero(Doubles()), Doubles(), sums_ + e);
  }

  using Pair = hn::Vec<hn::FixedTag<double, 2>>;

  // {a[0] + a[1], a[2] + a[3]}
  static HWY_INLINE Pair AddNeighbours(Pair first, Pair second) {
    const hn::FixedTag<double, 2> tag;
    return hn::Add(hn::ConcatEven(tag, second, first), hn::ConcatOdd(tag, second, first));
  }

  template <int64_t kUsed>
  HWY_INLINE double SumFirst() const {
    const hn::FixedTag<double, 2> tag;
    constexpr int kPairs = static_cast<int>(kUsed / 8);
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
};

// Whether one of these targets is below zero. Rarely asked.
template <class Target>
HWY_NOINLINE bool AnyNegative(const Target& target, int64_t first, int64_t end) {
  for (int64_t e = first; e < end; e += kLanes) {
    const auto t = target.LoadFirst(e, std::min(kLanes, end - e));
    if (!hn::AllFalse(Doubles(), hn::Lt(t.v[0], hn::Zero(Doubles())))) return true;
  }
  return false;
}

// The sum of a tile, the 1 to 1024 elements from `first` up to `end`.
//
// Elements with t < 0 are not looked for: the targets' sign bits are or-ed together, and only a tile that has
// one is looked through. With one t < 0 its sum is NaN, whatever the rest; -0 has come out right by itself.
template <bool kWideTarget, bool kLogTarget, bool kSkipZero, class Input, class Target>
HWY_INLINE double SumOfTile(const Input& input, const Target& target, int64_t first, int64_t end) {
  constexpr int kVectors = 4;
  constexpr int64_t kStep = kVectors * kLanes;
  using Numbers = Number<kVectors>;

  Accumulators sums(end - first);
  Word signs = hn::Zero(Words());
  int64_t e = first;
  for (; e + kStep <= end; e += kStep) {
    const auto t = target.template Load<kVectors>(e);
    typename Numbers::Value x;
    if constexpr (kLogTarget) x = input.template Load<kVectors>(e);
    if constexpr (!kLogTarget) {
      const auto bits = Numbers::Bits(t);
      signs = hn::Or3(signs, bits.v[0], bits.v[1]);
      signs = hn::Or3(signs, bits.v[2], bits.v[3]);
    }
    const auto term = TargetTerm<Numbers, kWideTarget, kLogTarget, true>({}, t);
    // Only now, because LN has use for all registers.
    if constexpr (!kLogTarget) x = input.template Load<kVectors>(e);
    sums.Add<kVectors>(e - first, Loss<Numbers, kLogTarget, kSkipZero>(term, x, t));
  }
  // Padded with x = t = 0, whose loss is +0 in every formula.
  for (; e < end; e += kLanes) {
    const auto t = target.LoadFirst(e, std::min(kLanes, end - e));
    const auto x = input.LoadFirst(e, std::min(kLanes, end - e));
    if constexpr (!kLogTarget) signs = hn::Or(signs, Number<1>::Bits(t).v[0]);
    const auto term = TargetTerm<Number<1>, kWideTarget, kLogTarget, true>({}, t);
    sums.Add<1>(e - first, Loss<Number<1>, kLogTarget, kSkipZero>(term, x, t));
  }
  if constexpr (!kLogTarget) {
    const hn::ScalableTag<int64_t> signed_words;
    const auto negative = hn::Lt(hn::BitCast(signed_words, signs), hn::Zero(signed_words));
    if (HWY_UNLIKELY(!hn::AllFalse(signed_words, negative)) && AnyNegative(target, first, end)) {
      return std::numeric_limits<double>::quiet_NaN();
    }
  }
  return sums.Sum(end - first);
}

template <bool kWideTarget, bool kLogTarget, bool kSkipZero, class Input, class Target>
HWY_NOINLINE void SumsOfTiles(Input input, Target target, int64_t elements, double* HWY_RESTRICT sums) {
  for (int64_t first = 0; first < elements; first += numerics::kTileElements) {
    const int64_t end = std::min(elements, first + numerics::kTileElements);
    *sums++ = SumOfTile<kWideTarget, kLogTarget, kSkipZero>(input, target, first, end);
  }
}

// The sum of a tile of 0 to 1024 values.
HWY_NOINLINE double SumOfValues(const double* values, int64_t count) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(values);
  Accumulators sums(count);
  int64_t e = 0;
  for (; e + kLanes <= count; e += kLanes) sums.Add<1>(e, {{hn::LoadU(Doubles(), values + e)}});
  if (e < count) sums.Add<1>(e, {{LoadFirst<DType::kFp64>(bytes + e * int64_t{sizeof(double)}, count - e)}});
  return sums.Sum(count);
}

}  // namespace HWY_NAMESPACE
}  // namespace kldiv::cpu_kernel
HWY_AFTER_NAMESPACE();

#endif  // KLDIV_SERVER_LANES_CPU_KERNEL_SUMS_INL_H_
