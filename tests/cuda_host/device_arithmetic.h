#ifndef KLDIV_TESTS_CUDA_HOST_DEVICE_ARITHMETIC_H_
#define KLDIV_TESTS_CUDA_HOST_DEVICE_ARITHMETIC_H_

// Arithmetic that names its rounding, and the bits of numbers, as in the CUDA Math API. Part of
// device_code.h. The conversions of halves come from the toolkit's cuda_fp16.h, which has versions for the
// host.
//
// Which NaN an operation yields, and min and max of one, are the host's: the interpreter of PTX varies those.

#include <cstring>

namespace kldiv::cuda_host {

// Keeps the compiler from contracting or reassociating across it, whatever its flags.
template <class T>
T Rounded(T value) {
#if defined(__x86_64__)
  asm("" : "+x"(value));
#elif defined(__aarch64__)
  asm("" : "+w"(value));
#else
#error "which registers hold floating-point numbers?"
#endif
  return value;
}

template <class To, class From>
To Bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

}  // namespace kldiv::cuda_host

inline double __dadd_rn(double a, double b) { return kldiv::cuda_host::Rounded(a + b); }
inline double __dsub_rn(double a, double b) { return kldiv::cuda_host::Rounded(a - b); }
inline double __dmul_rn(double a, double b) { return kldiv::cuda_host::Rounded(a * b); }
inline double __ddiv_rn(double a, double b) { return kldiv::cuda_host::Rounded(a / b); }
inline double __dsqrt_rn(double a) { return kldiv::cuda_host::Rounded(__builtin_sqrt(a)); }
inline double __fma_rn(double a, double b, double c) {
  return kldiv::cuda_host::Rounded(__builtin_fma(a, b, c));
}
inline float __fadd_rn(float a, float b) { return kldiv::cuda_host::Rounded(a + b); }
inline float __fsub_rn(float a, float b) { return kldiv::cuda_host::Rounded(a - b); }
inline float __fmul_rn(float a, float b) { return kldiv::cuda_host::Rounded(a * b); }
inline float __fdiv_rn(float a, float b) { return kldiv::cuda_host::Rounded(a / b); }
inline float __fmaf_rn(float a, float b, float c) {
  return kldiv::cuda_host::Rounded(__builtin_fmaf(a, b, c));
}
inline float __double2float_rn(double a) { return static_cast<float>(a); }

inline float __int_as_float(int a) { return kldiv::cuda_host::Bits<float>(a); }
inline int __float_as_int(float a) { return kldiv::cuda_host::Bits<int>(a); }
inline float __uint_as_float(unsigned a) { return kldiv::cuda_host::Bits<float>(a); }
inline unsigned __float_as_uint(float a) { return kldiv::cuda_host::Bits<unsigned>(a); }
inline double __longlong_as_double(long long a) { return kldiv::cuda_host::Bits<double>(a); }
inline long long __double_as_longlong(double a) { return kldiv::cuda_host::Bits<long long>(a); }
inline double __hiloint2double(int hi, int lo) {
  const auto high = static_cast<unsigned long long>(static_cast<unsigned>(hi)) << 32;
  return kldiv::cuda_host::Bits<double>(high | static_cast<unsigned>(lo));
}
inline int __double2hiint(double a) {
  return static_cast<int>(kldiv::cuda_host::Bits<unsigned long long>(a) >> 32);
}
inline int __double2loint(double a) {
  return static_cast<int>(kldiv::cuda_host::Bits<unsigned long long>(a));
}

inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline int __ffs(int a) { return __builtin_ffs(a); }
inline int __clz(int a) { return a != 0 ? __builtin_clz(static_cast<unsigned>(a)) : 32; }

#endif  // KLDIV_TESTS_CUDA_HOST_DEVICE_ARITHMETIC_H_
