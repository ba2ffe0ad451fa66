#ifndef KLDIV_SERVER_CUDA_KL_NUMBER_INL_H_
#define KLDIV_SERVER_CUDA_KL_NUMBER_INL_H_

// Part of kl_kernel.cu: the formula of numerics/kl_math-inl.h on the device, over one binary64 number.

#include <cuda_runtime.h>

#include <cstdint>

#ifdef __CUDACC__
#define KLDIV_COEFFICIENT_TABLE static __constant__ const
#endif
#include "server/numerics/kl_coefficients.h"

namespace kldiv::cuda {

// The tables that are read at a place that depends on the data, in shared memory, where a warp's reads of
// different places cost little.
struct Tables {
  const double2* ln32;             // kLnInverse, kLnLog
  const double2* ln64;             // kLnLogHigh, kLnLogLow
  const unsigned long long* exp2;  // kExp2Offset
};

// Every operation names its rounding, so that no compiler flag can change it.
struct Number {
  using Value = double;
  using Word = unsigned long long;

  Tables tables;

  static __device__ __forceinline__ Value Const(double c) { return c; }
  static __device__ __forceinline__ Value Add(Value a, Value b) { return __dadd_rn(a, b); }
  static __device__ __forceinline__ Value Sub(Value a, Value b) { return __dsub_rn(a, b); }
  static __device__ __forceinline__ Value Mul(Value a, Value b) { return __dmul_rn(a, b); }
  static __device__ __forceinline__ Value Fma(Value a, Value b, Value c) { return __fma_rn(a, b, c); }
  static __device__ __forceinline__ Value FmaSub(Value a, Value b, Value c) { return __fma_rn(a, b, -c); }
  static __device__ __forceinline__ Value NegFma(Value a, Value b, Value c) { return __fma_rn(-a, b, c); }

  static __device__ __forceinline__ Word Bits(Value v) { return static_cast<Word>(__double_as_longlong(v)); }
  static __device__ __forceinline__ Value FromBits(Word w) {
    return __longlong_as_double(static_cast<long long>(w));
  }
  static __device__ __forceinline__ Word WordConst(uint64_t c) { return c; }
  static __device__ __forceinline__ Word WordAdd(Word a, Word b) { return a + b; }
  static __device__ __forceinline__ Word WordSub(Word a, Word b) { return a - b; }
  static __device__ __forceinline__ Word WordAnd(Word a, Word b) { return a & b; }
  static __device__ __forceinline__ Word WordOr(Word a, Word b) { return a | b; }
  template <int n>
  static __device__ __forceinline__ Word ShiftRight(Word w) {
    return w >> n;
  }
  template <int n>
  static __device__ __forceinline__ Word ShiftLeft(Word w) {
    return w << n;
  }

  // Comparisons are made with integers: on most devices units for binary64 are the scarce ones.

  // Right for every b > 0, which is all that the formula asks.
  static __device__ __forceinline__ bool Less(Value a, Value b) {
    return __double_as_longlong(a) < __double_as_longlong(b);
  }
  static __device__ __forceinline__ Value Select(bool mask, Value a, Value b) { return mask ? a : b; }
  // A NaN with its sign bit set stays one.
  static __device__ __forceinline__ Value NanIfNegative(Value v) {
    return FromBits(Bits(v) > 0x8000000000000000u ? 0x7ff8000000000000u : Bits(v));
  }
  // Limits the high word, so |v| to 1024 + 2^-9: as signed numbers those of negative values are small, as
  // unsigned ones those of positive values.
  static __device__ __forceinline__ Value Clamp(Value v) {
    constexpr int kHighOf1024 = 0x40900000;
    constexpr unsigned kHighOfMinus1024 = 0xc0900000u;
    const int above = static_cast<int>(Bits(v) >> 32);
    const auto limited = static_cast<unsigned>(above < kHighOf1024 ? above : kHighOf1024);
    const unsigned high = limited < kHighOfMinus1024 ? limited : kHighOfMinus1024;
    return FromBits(static_cast<Word>(high) << 32 | static_cast<unsigned>(Bits(v)));
  }

  __device__ __forceinline__ void Ln32Row(Word row, Value& inverse, Value& log) const {
    const double2 entry = tables.ln32[static_cast<unsigned>(row) & 7];
    inverse = entry.x;
    log = entry.y;
  }
  __device__ __forceinline__ void Ln64Row(Word row, Value& inverse, Value& log_high, Value& log_low) const {
    inverse = tables.ln32[static_cast<unsigned>(row) & 7].x;
    const double2 entry = tables.ln64[static_cast<unsigned>(row) & 7];
    log_high = entry.x;
    log_low = entry.y;
  }
  __device__ __forceinline__ Word Exp2Offset(Word row) const {
    return tables.exp2[static_cast<unsigned>(row) & 7];
  }
  static constexpr bool kHasScale = false;
};

namespace math {
#define KLDIV_MATH_FUNCTION __device__ __forceinline__
#define KLDIV_MATH_UNROLL _Pragma("unroll")
#include "server/numerics/kl_math-inl.h"
}  // namespace math

}  // namespace kldiv::cuda

#endif  // KLDIV_SERVER_CUDA_KL_NUMBER_INL_H_
