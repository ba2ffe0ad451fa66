// Vectors of binary64 numbers: loading and widening tensors, and the number type over which kl_math-inl.h is
// the element formula. Included once per Highway target.
#if defined(KLDIV_SERVER_LANES_CPU_KERNEL_NUMBER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KLDIV_SERVER_LANES_CPU_KERNEL_NUMBER_INL_H_
#undef KLDIV_SERVER_LANES_CPU_KERNEL_NUMBER_INL_H_
#else
#define KLDIV_SERVER_LANES_CPU_KERNEL_NUMBER_INL_H_
#endif

#include <cstdint>
#include <cstring>
#include <utility>

#include "hwy/highway.h"
#include "server/numerics/formula.h"
#include "server/numerics/kl_coefficients.h"

HWY_BEFORE_NAMESPACE();
namespace kldiv::cpu_kernel {
namespace HWY_NAMESPACE {

#if !HWY_NATIVE_FMA
#error "This target's MulAdd rounds twice: add it to HWY_DISABLED_TARGETS."
#endif

#undef KLDIV_TARGET_AVX512
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
#define KLDIV_TARGET_AVX512 1
#else
#define KLDIV_TARGET_AVX512 0
#endif

namespace hn = hwy::HWY_NAMESPACE;
using numerics::DType;

using Doubles = hn::ScalableTag<double>;
using Words = hn::ScalableTag<uint64_t>;
using Floats = hn::Rebind<float, Doubles>;
using Halves = hn::Rebind<uint16_t, Doubles>;  // 16 bits of either format
using Double = hn::Vec<Doubles>;
using Word = hn::Vec<Words>;

// Elements of one vector. A constant: all targets that are compiled have vectors of a fixed size.
inline constexpr int64_t kLanes = HWY_MAX_BYTES / static_cast<int64_t>(sizeof(double));

// ---- Tensors, widened exactly

template <DType>
struct Storage;
template <>
struct Storage<DType::kFp16> {
  using Tag = Halves;
  static HWY_INLINE Double Widen(hn::Vec<Tag> v) {
    return hn::PromoteTo(Doubles(),
                         hn::PromoteTo(Floats(), hn::BitCast(hn::Rebind<hwy::float16_t, Doubles>(), v)));
  }
};
template <>
struct Storage<DType::kBf16> {
  using Tag = Halves;
  static HWY_INLINE Double Widen(hn::Vec<Tag> v) {
    return hn::PromoteTo(Doubles(),
                         hn::PromoteTo(Floats(), hn::BitCast(hn::Rebind<hwy::bfloat16_t, Doubles>(), v)));
  }
};
template <>
struct Storage<DType::kFp32> {
  using Tag = Floats;
  static HWY_INLINE Double Widen(hn::Vec<Tag> v) { return hn::PromoteTo(Doubles(), v); }
};
template <>
struct Storage<DType::kFp64> {
  using Tag = Doubles;
  static HWY_INLINE Double Widen(hn::Vec<Tag> v) { return v; }
};

// kLanes elements at any address.
template <DType kDType>
HWY_INLINE Double Load(const uint8_t* from) {
  using Tag = typename Storage<kDType>::Tag;
  return Storage<kDType>::Widen(hn::LoadU(Tag(), reinterpret_cast<const hn::TFromD<Tag>*>(from)));
}

// The first `count`, 1 to kLanes, of them and zeros; nothing beyond them is read.
template <DType kDType>
HWY_INLINE Double LoadFirst(const uint8_t* from, int64_t count) {
  using Tag = typename Storage<kDType>::Tag;
  using T = hn::TFromD<Tag>;
#if KLDIV_TARGET_AVX512
  constexpr bool kMasked = true;
#else
  // AVX2 has masked loads for the wider types; elsewhere Highway's read the whole vector.
  constexpr bool kMasked = HWY_ARCH_X86 && sizeof(T) >= 4;
#endif
  if constexpr (kMasked) {
    const auto mask = hn::FirstN(Tag(), static_cast<size_t>(count));
    return Storage<kDType>::Widen(hn::MaskedLoad(mask, Tag(), reinterpret_cast<const T*>(from)));
  } else {
    if (count == kLanes) return Load<kDType>(from);
    HWY_ALIGN T padded[kLanes] = {};
    std::memcpy(padded, from, static_cast<size_t>(count) * sizeof(T));
    return Storage<kDType>::Widen(hn::Load(Tag(), padded));
  }
}

// ---- Tables of eight entries, indexed by the low three bits of each word

HWY_INLINE Double Lookup(const double (&table)[8], Word row) {
#if KLDIV_TARGET_AVX512
  return hn::TableLookupLanes(hn::LoadU(Doubles(), table), hn::Indices512<double>{row.raw});
#elif HWY_TARGET == HWY_AVX2
  // The table as eight low and eight high halves, which the compiler keeps in two registers; a gather would
  // take twice as long as two permutes of 32-bit lanes and a blend.
  const hn::ScalableTag<uint32_t> tag;
  const auto* halves = reinterpret_cast<const uint32_t*>(table);
  const auto first = hn::LoadU(tag, halves);
  const auto last = hn::LoadU(tag, halves + 8);
  const auto low = hn::ConcatEven(tag, last, first);
  const auto high = hn::ConcatOdd(tag, last, first);
  const hn::Indices256<uint32_t> rows{hn::DupEven(hn::BitCast(tag, row)).raw};
  return hn::BitCast(Doubles(),
                     hn::OddEven(hn::TableLookupLanes(high, rows), hn::TableLookupLanes(low, rows)));
#else
  const auto index = hn::And(row, hn::Set(Words(), 7));
  return hn::GatherIndex(Doubles(), table, hn::BitCast(hn::ScalableTag<int64_t>(), index));
#endif
}

HWY_INLINE Word Lookup(const uint64_t (&table)[8], Word row) {
  return hn::BitCast(Words(), Lookup(reinterpret_cast<const double(&)[8]>(table), row));
}

// ---- The number type

// The numbers below kVectors as constants, for what is done to each vector. A loop over them would leave
// arrays in memory wherever the compiler does not unroll it in time: under a sanitizer, for minutes of
// compiling.
template <class Result, class F, int... kIndices>
HWY_INLINE Result EachVector(F f, std::integer_sequence<int, kIndices...>) {
  return {{f(kIndices)...}};
}
template <class F, int... kIndices>
HWY_INLINE void ForEachVector(F f, std::integer_sequence<int, kIndices...>) {
  (f(kIndices), ...);
}
template <int kVectors, class F>
HWY_INLINE void ForEachVector(F f) {
  ForEachVector(f, std::make_integer_sequence<int, kVectors>());
}

// kVectors vectors side by side. The operations of independent vectors thereby alternate in the instruction
// stream, which the CPU needs: one vector alone is a chain of some 70 cycles, and another could start
// every 15.
template <int kVectors>
struct Number {
  struct Value {
    Double v[kVectors];
  };
  struct Word {
    HWY_NAMESPACE::Word v[kVectors];
  };
  struct Mask {
    hn::Mask<Doubles> v[kVectors];
  };

  static HWY_INLINE Value Const(double c) {
    return Each<Value>([=](int) HWY_ATTR { return hn::Set(Doubles(), c); });
  }
  static HWY_INLINE Value Add(Value a, Value b) {
    return Each<Value>([&](int i) HWY_ATTR { return hn::Add(a.v[i], b.v[i]); });
  }
  static HWY_INLINE Value Sub(Value a, Value b) {
    return Each<Value>([&](int i) HWY_ATTR { return hn::Sub(a.v[i], b.v[i]); });
  }
  static HWY_INLINE Value Mul(Value a, Value b) {
    return Each<Value>([&](int i) HWY_ATTR { return hn::Mul(a.v[i], b.v[i]); });
  }
  static HWY_INLINE Value Fma(Value a, Value b, Value c) {
    return Each<Value>([&](int i) HWY_ATTR { return hn::MulAdd(a.v[i], b.v[i], c.v[i]); });
  }
  static HWY_INLINE Value FmaSub(Value a, Value b, Value c) {
    return Each<Value>([&](int i) HWY_ATTR { return hn::MulSub(a.v[i], b.v[i], c.v[i]); });
  }
  static HWY_INLINE Value NegFma(Value a, Value b, Value c) {
    return Each<Value>([&](int i) HWY_ATTR { return hn::NegMulAdd(a.v[i], b.v[i], c.v[i]); });
  }

  static HWY_INLINE Mask Less(Value a, Value b) {
    return Each<Mask>([&](int i) HWY_ATTR { return hn::Lt(a.v[i], b.v[i]); });
  }
  static HWY_INLINE Mask Equal(Value a, Value b) {
    return Each<Mask>([&](int i) HWY_ATTR { return hn::Eq(a.v[i], b.v[i]); });
  }
  static HWY_INLINE Value Select(Mask m, Value a, Value b) {
    return Each<Value>([&](int i) HWY_ATTR { return hn::IfThenElse(m.v[i], a.v[i], b.v[i]); });
  }
  static HWY_INLINE Value NanIfNegative(Value a) {
    return Each<Value>([&](int i) HWY_ATTR {
      return hn::IfThenElse(hn::Lt(a.v[i], hn::Zero(Doubles())), hn::NaN(Doubles()), a.v[i]);
    });
  }

#if KLDIV_TARGET_AVX512
  // Two instructions of which Highway knows nothing: log_target runs 1.2 times as fast with them.
  static constexpr bool kHasScale = true;
  static HWY_INLINE Value Scale(Value a, Value k) {
    return Each<Value>([&](int i)
                           HWY_ATTR { return Double{_mm512_maskz_scalef_pd(0xff, a.v[i].raw, k.v[i].raw)}; });
  }
  static HWY_INLINE Value Exp2(Word row) {
    return Each<Value>([&](int i) HWY_ATTR { return Lookup(numerics::kExp2, row.v[i]); });
  }
  // Control 2: the smaller magnitude of the two, with the first one's sign.
  static HWY_INLINE Value Clamp(Value a) {
    return Each<Value>(
        [&](int i) HWY_ATTR { return Double{_mm512_range_pd(a.v[i].raw, _mm512_set1_pd(1024.0), 2)}; });
  }
#else
  static constexpr bool kHasScale = false;
  static HWY_INLINE Value Clamp(Value a) {
    return Each<Value>([&](int i) HWY_ATTR {
      return hn::Max(hn::Min(a.v[i], hn::Set(Doubles(), 1024.0)), hn::Set(Doubles(), -1024.0));
    });
  }
#endif

  static HWY_INLINE Word Bits(Value a) {
    return Each<Word>([&](int i) HWY_ATTR { return hn::BitCast(Words(), a.v[i]); });
  }
  static HWY_INLINE Value FromBits(Word a) {
    return Each<Value>([&](int i) HWY_ATTR { return hn::BitCast(Doubles(), a.v[i]); });
  }
  static HWY_INLINE Word WordConst(uint64_t c) {
    return Each<Word>([=](int) HWY_ATTR { return hn::Set(Words(), c); });
  }
  static HWY_INLINE Word WordAdd(Word a, Word b) {
    return Each<Word>([&](int i) HWY_ATTR { return hn::Add(a.v[i], b.v[i]); });
  }
  static HWY_INLINE Word WordSub(Word a, Word b) {
    return Each<Word>([&](int i) HWY_ATTR { return hn::Sub(a.v[i], b.v[i]); });
  }
  static HWY_INLINE Word WordAnd(Word a, Word b) {
    return Each<Word>([&](int i) HWY_ATTR { return hn::And(a.v[i], b.v[i]); });
  }
  static HWY_INLINE Word WordOr(Word a, Word b) {
    return Each<Word>([&](int i) HWY_ATTR { return hn::Or(a.v[i], b.v[i]); });
  }
  template <int kBits>
  static HWY_INLINE Word ShiftRight(Word a) {
    return Each<Word>([&](int i) HWY_ATTR { return hn::ShiftRight<kBits>(a.v[i]); });
  }
  template <int kBits>
  static HWY_INLINE Word ShiftLeft(Word a) {
    return Each<Word>([&](int i) HWY_ATTR { return hn::ShiftLeft<kBits>(a.v[i]); });
  }

  static HWY_INLINE void Ln32Row(Word row, Value& inverse, Value& log) {
    inverse = Each<Value>([&](int i) HWY_ATTR { return Lookup(numerics::kLnInverse, row.v[i]); });
    log = Each<Value>([&](int i) HWY_ATTR { return Lookup(numerics::kLnLog, row.v[i]); });
  }
  static HWY_INLINE void Ln64Row(Word row, Value& inverse, Value& log_high, Value& log_low) {
    inverse = Each<Value>([&](int i) HWY_ATTR { return Lookup(numerics::kLnInverse, row.v[i]); });
    log_high = Each<Value>([&](int i) HWY_ATTR { return Lookup(numerics::kLnLogHigh, row.v[i]); });
    log_low = Each<Value>([&](int i) HWY_ATTR { return Lookup(numerics::kLnLogLow, row.v[i]); });
  }
  static HWY_INLINE Word Exp2Offset(Word row) {
    return Each<Word>([&](int i) HWY_ATTR { return Lookup(numerics::kExp2Offset, row.v[i]); });
  }

 private:
  // Each vector i of the result is f(i).
  template <class Result, class F>
  static HWY_INLINE Result Each(F f) {
    return EachVector<Result>(f, std::make_integer_sequence<int, kVectors>());
  }
};

// ---- Tensors as the kernels see them: element numbers in, numbers out

// Of a dtype that is compiled in.
template <DType kDType>
class Tensor {
 public:
  explicit HWY_INLINE Tensor(const uint8_t* data) : data_(data) {}

  // As many elements from `first` on as kVectors vectors hold.
  template <int kVectors>
  HWY_INLINE typename Number<kVectors>::Value Load(int64_t first) const {
    typename Number<kVectors>::Value values;
    ForEachVector<kVectors>([&](int i) HWY_ATTR {
      values.v[i] = HWY_NAMESPACE::Load<kDType>(data_ + (first + i * kLanes) * kSize);
    });
    return values;
  }

  // 1 to kLanes of them, and zeros.
  HWY_INLINE Number<1>::Value LoadFirst(int64_t first, int64_t count) const {
    return {{HWY_NAMESPACE::LoadFirst<kDType>(data_ + first * kSize, count)}};
  }

 private:
  static constexpr int64_t kSize = numerics::ElementSize(kDType);
  const uint8_t* data_;
};

// Of any dtype. The branch at each load goes the same way throughout a tensor, so it costs next to nothing,
// and sixteen pairs of dtypes are one kernel.
class AnyTensor {
 public:
  HWY_INLINE AnyTensor(DType dtype, const uint8_t* data) : dtype_(dtype), data_(data) {}

  template <int kVectors>
  HWY_INLINE typename Number<kVectors>::Value Load(int64_t first) const {
    switch (dtype_) {
      case DType::kFp16:
        return Tensor<DType::kFp16>(data_).Load<kVectors>(first);
      case DType::kBf16:
        return Tensor<DType::kBf16>(data_).Load<kVectors>(first);
      case DType::kFp32:
        return Tensor<DType::kFp32>(data_).Load<kVectors>(first);
      case DType::kFp64:
        break;
    }
    return Tensor<DType::kFp64>(data_).Load<kVectors>(first);
  }

  HWY_INLINE Number<1>::Value LoadFirst(int64_t first, int64_t count) const {
    switch (dtype_) {
      case DType::kFp16:
        return Tensor<DType::kFp16>(data_).LoadFirst(first, count);
      case DType::kBf16:
        return Tensor<DType::kBf16>(data_).LoadFirst(first, count);
      case DType::kFp32:
        return Tensor<DType::kFp32>(data_).LoadFirst(first, count);
      case DType::kFp64:
        break;
    }
    return Tensor<DType::kFp64>(data_).LoadFirst(first, count);
  }

 private:
  const DType dtype_;
  const uint8_t* const data_;
};

#if HWY_IS_ASAN || HWY_IS_TSAN || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// Inlined into every kernel, and with a check at each access, this would take minutes to compile.
#define KLDIV_MATH_FUNCTION HWY_NOINLINE
#else
#define KLDIV_MATH_FUNCTION HWY_INLINE
#endif
#define KLDIV_MATH_UNROLL HWY_UNROLL(16)
#include "server/numerics/kl_math-inl.h"

}  // namespace HWY_NAMESPACE
}  // namespace kldiv::cpu_kernel
HWY_AFTER_NAMESPACE();

#endif  // KLDIV_SERVER_LANES_CPU_KERNEL_NUMBER_INL_H_
