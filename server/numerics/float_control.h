#ifndef KLDIV_SERVER_NUMERICS_FLOAT_CONTROL_H_
#define KLDIV_SERVER_NUMERICS_FLOAT_CONTROL_H_

#include <cstdint>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

// The calling thread's floating-point control register: MXCSR on x86-64, FPCR on AArch64.
namespace kldiv::numerics {

// Sets it to its default: rounding to nearest even, subnormal operands and results kept, no traps. To be
// called on a thread before it computes, because a library that was linked with -Ofast makes every new
// thread of the process flush subnormals to zero.
inline void ResetFloatControl() {
#if defined(__x86_64__)
  _mm_setcsr(0x1f80);
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(uint64_t{0}));
#else
#error "How is flush-to-zero switched off here?"
#endif
}

// For tests: what such a library leaves behind. Subnormal operands and results become zeros.
inline void FlushSubnormals() {
#if defined(__x86_64__)
  _mm_setcsr(0x9fc0);
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(uint64_t{1} << 24));
#endif
}

}  // namespace kldiv::numerics

#endif  // KLDIV_SERVER_NUMERICS_FLOAT_CONTROL_H_
