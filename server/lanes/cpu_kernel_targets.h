#ifndef KLDIV_SERVER_LANES_CPU_KERNEL_TARGETS_H_
#define KLDIV_SERVER_LANES_CPU_KERNEL_TARGETS_H_

// The instruction sets that Highway is not to compile for; before any of its headers.
//
// Without a native fused multiply-add, MulAdd rounds twice and the bits would differ: SSSE3, SSE4. The number
// type is a struct of vectors, which scalable vectors cannot be members of: SVE.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)

#endif  // KLDIV_SERVER_LANES_CPU_KERNEL_TARGETS_H_
