// LN, EXP and the element formula of numerics version 1, as one sequence of IEEE binary64 operations over an
// abstract number type.
//
// No include guard, on purpose: the scalar reference, every SIMD target and the CUDA kernel include it once
// each, inside a namespace of their own (GCC does not inline across target attributes). The includer first
// includes kl_coefficients.h and defines, for this inclusion only,
//   KLDIV_MATH_FUNCTION   what stands before a function: inline, and target or __device__ attributes
//   KLDIV_MATH_UNROLL     a pragma before the loop over a polynomial's coefficients, or nothing
//
// A number type N, of which each operation rounds once, to nearest even, has
//   Value                 binary64 number(s)
//   Word                  64-bit unsigned integer(s) of the same shape, arithmetic modulo 2^64
//   Const(double), Add, Sub, Mul
//   Fma(a, b, c)          a*b + c        FmaSub(a, b, c)   a*b - c        NegFma(a, b, c)   c - a*b
//   Less(a, b), Equal(a, b)              a mask; anything for Less of a NaN, false for Equal of one
//   Select(mask, a, b)    mask ? a : b
//   NanIfNegative(v)      NaN where v < 0, else v; -0 is not negative
//   Clamp(v)              v where |v| <= 746; beyond, any value of v's sign with 746 <= |Clamp(v)| <= 1025;
//                         any value for NaN
//   Bits(Value), FromBits(Word), WordConst(uint64_t), WordAdd, WordSub, WordAnd, WordOr,
//   ShiftRight<n>(Word)   logical        ShiftLeft<n>(Word)
// and, as members of an object, which may hold tables in registers or in shared memory,
//   Ln32Row(row, inverse, log)           row mod 8 of kLnInverse and kLnLog
//   Ln64Row(row, inverse, log_high, log_low)
//   Exp2Offset(row)                      row mod 8 of kExp2Offset, a Word
//   kHasScale             whether there are, too, Scale(v, k), v * 2^floor(k) with one rounding, and
//                         Exp2(row), row mod 8 of kExp2
//
// Every result is fixed to the bit, except for which NaN it is: Canonical() at the output removes that.

// t = 2^exponent * mantissa with mantissa in [0.6458, 1.2917), in interval `row` mod 8 of eight.
// Meaningless but harmless for t <= 0, infinities and NaN.
template <class N>
KLDIV_MATH_FUNCTION void Split(typename N::Value t, typename N::Value& exponent, typename N::Value& mantissa,
                               typename N::Word& row) {
  const auto shifted = N::WordAdd(N::Bits(t), N::WordConst(0x3ff0000000000000u - numerics::kLnSplitBits));
  // The exponent field, exponent + 1023, becomes the last bits of a number just above 2^52.
  const auto above_2_52 =
      N::FromBits(N::WordOr(N::template ShiftRight<52>(shifted), N::WordConst(0x4330000000000000u)));
  exponent = N::Sub(above_2_52, N::Const(4503599627370496.0 + 1023.0));
  mantissa = N::FromBits(N::WordAdd(N::WordAnd(shifted, N::WordConst(0x000fffffffffffffu)),
                                    N::WordConst(numerics::kLnSplitBits)));
  row = N::template ShiftRight<49>(shifted);
}

// Horner's rule with fused operations, from the last coefficient down.
template <class N, int kCount>
KLDIV_MATH_FUNCTION typename N::Value Polynomial(typename N::Value r, const double (&coefficients)[kCount]) {
  auto sum = N::Const(coefficients[kCount - 1]);
  KLDIV_MATH_UNROLL
  for (int i = kCount - 2; i >= 0; --i) sum = N::Fma(sum, r, N::Const(coefficients[i]));
  return sum;
}

// ln t to a relative 2^-47 where t > 0 is a half, a bfloat16 or a float. Some finite number at both zeros.
template <class N>
KLDIV_MATH_FUNCTION typename N::Value Ln32(const N& number, typename N::Value t) {
  typename N::Value exponent, mantissa, inverse, log;
  typename N::Word row;
  Split<N>(t, exponent, mantissa, row);
  number.Ln32Row(row, inverse, log);
  const auto r = N::Fma(mantissa, inverse, N::Const(-1.0));
  const auto y = N::Fma(exponent, N::Const(numerics::kLn2), log);
  return N::Add(y, N::Fma(Polynomial<N>(r, numerics::kLn32), N::Mul(r, r), r));
}

// ln t to 0.75 ulp for any t > 0, subnormals included. Some finite number at both zeros.
template <class N>
KLDIV_MATH_FUNCTION typename N::Value Ln64(const N& number, typename N::Value t) {
  const auto tiny = N::Less(t, N::Const(0x1p-1022));
  typename N::Value exponent, mantissa, inverse, log_high, log_low;
  typename N::Word row;
  Split<N>(N::Select(tiny, N::Mul(t, N::Const(0x1p54)), t), exponent, mantissa, row);
  exponent = N::Sub(exponent, N::Select(tiny, N::Const(54.0), N::Const(0.0)));
  number.Ln64Row(row, inverse, log_high, log_low);
  const auto r = N::Fma(mantissa, inverse, N::Const(-1.0));
  const auto whole = N::Fma(exponent, N::Const(numerics::kLn2High),
                            log_high);  // exact: kLn2High has trailing zeros
  const auto whole_low = N::Fma(exponent, N::Const(numerics::kLn2Low), log_low);
  const auto high = N::Add(whole, r);
  const auto low = N::Add(N::Sub(whole, high), r);  // exact: what `high` lost
  return N::Add(high, N::Fma(Polynomial<N>(r, numerics::kLn64), N::Mul(r, r), N::Add(low, whole_low)));
}

// e^t to a relative 2^-46 where t is a half, a bfloat16 or a float; outside the range +0 and +inf; one
// rounding into the subnormals. Any value for NaN.
//
// k is the multiple of 1/8 that is nearest to t log2(e). With n = floor(k) and h = floor(n/2),
// e^t = (2^(k-n) 2^(n-h) 2^f) 2^h, of which only the last product can round into a subnormal or overflow.
template <class N>
KLDIV_MATH_FUNCTION typename N::Value Exp32(const N& number, typename N::Value t) {
  const auto clamped = N::Clamp(t);
  const auto big = N::Const(844424930131968.0 + 2046.0);  // 1.5 * 2^49: its last bit is worth 1/8
  const auto k_and_big = N::Fma(clamped, N::Const(numerics::kLog2E), big);
  const auto k = N::Sub(k_and_big, big);
  const auto f = N::FmaSub(clamped, N::Const(numerics::kLog2E), k);  // |f| <= 1/16
  const auto k_bits = N::Bits(k_and_big);
  if constexpr (N::kHasScale) {
    const auto y = number.Exp2(k_bits);  // 2^(k-n)
    return N::Scale(N::Fma(N::Mul(y, f), Polynomial<N>(f, numerics::kExp32), y), k);
  } else {
    // Bits 0 to 14 hold 8 (k + 2046): above the lowest three stands n plus twice an exponent's bias, so that
    // halving it gives the exponent field of 2^h.
    const auto scale = N::WordAnd(N::template ShiftLeft<48>(k_bits), N::WordConst(0xfff0000000000000u));
    const auto y = N::FromBits(N::WordSub(
        N::WordAdd(number.Exp2Offset(k_bits), N::template ShiftLeft<49>(k_bits)), scale));  // 2^(k-h)
    return N::Mul(N::Fma(N::Mul(y, f), Polynomial<N>(f, numerics::kExp32), y), N::FromBits(scale));
  }
}

// e^t to 0.85 ulp for any t; outside the range +0 and +inf; one rounding into the subnormals. Any value for
// NaN.
template <class N>
KLDIV_MATH_FUNCTION typename N::Value Exp64(typename N::Value t) {
  const auto clamped = N::Clamp(t);
  const auto big = N::Const(6755399441055744.0);  // 1.5 * 2^52: its last bit is worth 1
  const auto k_and_big = N::Fma(clamped, N::Const(numerics::kLog2E), big);
  const auto k = N::Sub(k_and_big, big);
  const auto r_high = N::NegFma(k, N::Const(numerics::kLn2High), clamped);  // exact
  const auto r = N::NegFma(k, N::Const(numerics::kLn2Low), r_high);
  const auto r_low = N::NegFma(k, N::Const(numerics::kLn2Low), N::Sub(r_high, r));  // what r lost
  const auto tail = N::Fma(Polynomial<N>(r, numerics::kExp64), N::Mul(r, r), r_low);
  const auto y = N::Add(N::Const(1.0), N::Add(r, tail));
  // Bits 0 to 11 hold k. Scaled in two steps, by 2^floor(k/2) and by the rest, so that only the last one can
  // round into a subnormal or overflow.
  const auto biased_k =
      N::WordAnd(N::WordAdd(N::Bits(k_and_big), N::WordConst(2048u)), N::WordConst(0xfffu));  // k + 2048
  const auto biased_half =
      N::template ShiftRight<1>(biased_k);  // floor(k/2) + 1024, one above the field's bias
  const auto minus_one = N::WordConst(0xffffffffffffffffu);
  const auto half = N::FromBits(N::template ShiftLeft<52>(N::WordAdd(biased_half, minus_one)));
  const auto rest =
      N::FromBits(N::template ShiftLeft<52>(N::WordAdd(N::WordSub(biased_k, biased_half), minus_one)));
  return N::Mul(N::Mul(y, half), rest);
}

// What a loss needs of its target alone: t ln t, or e^t where t is a log-probability.
//   kWideTarget   the target is FP64
//   kNoNegative   the caller answers for t < 0 itself: the result is then undefined
template <class N, bool kWideTarget, bool kLogTarget, bool kNoNegative>
KLDIV_MATH_FUNCTION typename N::Value TargetTerm(const N& number, typename N::Value t) {
  if constexpr (kLogTarget) {
    if constexpr (kWideTarget) {
      return Exp64<N>(t);
    } else {
      return Exp32<N>(number, t);
    }
  } else {
    typename N::Value valid = t;
    if constexpr (!kNoNegative) valid = N::NanIfNegative(t);
    typename N::Value ln;
    if constexpr (kWideTarget) {
      ln = Ln64<N>(number, valid);
    } else {
      ln = Ln32<N>(number, valid);
    }
    // t = +-0 needs no case: LN is finite there, and adding +0 makes either zero +0.
    return N::Fma(valid, ln, N::Const(0.0));
  }
}

// The loss of an element whose TargetTerm is `term`.
//   kSkipZero   an element of target probability 0 counts 0, unless x is NaN
template <class N, bool kLogTarget, bool kSkipZero>
KLDIV_MATH_FUNCTION typename N::Value Loss(typename N::Value term, typename N::Value x, typename N::Value t) {
  typename N::Value loss;
  if constexpr (kLogTarget) {
    loss = N::Mul(term, N::Sub(t, x));
  } else {
    loss = N::NegFma(t, x, term);
  }
  if constexpr (kSkipZero) {
    const auto zero_target = kLogTarget ? N::FromBits(N::WordConst(0xfff0000000000000u)) : N::Const(0.0);
    loss = N::Select(N::Equal(t, zero_target), N::Select(N::Equal(x, x), N::Const(0.0), x), loss);
  }
  return loss;
}

// The loss of any element.
template <class N, bool kWideTarget, bool kLogTarget, bool kSkipZero>
KLDIV_MATH_FUNCTION typename N::Value Element(const N& number, typename N::Value x, typename N::Value t) {
  const auto term = TargetTerm<N, kWideTarget, kLogTarget, false>(number, t);
  return Loss<N, kLogTarget, kSkipZero>(term, x, t);
}

#undef KLDIV_MATH_FUNCTION
#undef KLDIV_MATH_UNROLL
