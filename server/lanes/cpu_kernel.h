#ifndef KLDIV_SERVER_LANES_CPU_KERNEL_H_
#define KLDIV_SERVER_LANES_CPU_KERNEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/numerics/formula.h"

// The arithmetic of numerics version 1 over contiguous memory, vectorized; the instruction set is chosen at
// run time. Every instruction set gives the same bits as the scalar reference. Thread-safe. The calling
// thread's floating-point control register must be the default one.
namespace kldiv::cpu_kernel {

// Tile sums of `elements` >= 0 consecutive elements: sums[TileCount(elements)], which of several possible
// NaNs a sum is being undefined. `input` and `target` may have any alignment.
void TileSums(const numerics::Formula& formula, const void* input, const void* target, int64_t elements,
              double* sums);

// Pointwise losses, rounded once to formula.output(), NaN canonical: `elements` values at `out`, at any
// alignment. `out` overlaps neither tensor.
void Pointwise(const numerics::Formula& formula, const void* input, const void* target, int64_t elements,
               void* out);

// The upper levels of the tree over `count` >= 0 tile sums, in order. Overwrites them. NaN canonical; +0
// when there are none.
double Fold(double* sums, int64_t count);

// The instruction set in use, "AVX-512", "AVX2", "NEON" or "scalar".
std::string InstructionSet();

// For tests and benchmarks: those that this machine can run, and a switch to one of them for the whole
// process, while nothing is being evaluated.
std::vector<std::string> SupportedInstructionSets();
void UseInstructionSet(const std::string& name);

}  // namespace kldiv::cpu_kernel

#endif  // KLDIV_SERVER_LANES_CPU_KERNEL_H_
