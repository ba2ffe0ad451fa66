#ifndef KLDIV_SERVER_NUMERICS_SCALAR_H_
#define KLDIV_SERVER_NUMERICS_SCALAR_H_

#include <cstdint>

#include "server/numerics/formula.h"

// Numerics version 1 in plain scalar code: the reference that every other executor equals to the bit, and
// what computes where no vector instructions with a fused multiply-add exist. Thread-safe. The calling
// thread's floating-point control register must be the default one (float_control.h). Tensors and outputs
// may have any alignment.
namespace kldiv::numerics::scalar {

// Element `index` of a tensor, exactly.
double Widen(DType dtype, const void* tensor, int64_t index);

// The loss of one element, x and t as Widen gives them. Which NaN a NaN is, is undefined.
double Element(const Formula& formula, double x, double t);

// The bits of `value` in `dtype`, rounded once to nearest even. NaN is canonical: 7e00 (FP16), 7fc0 (BF16),
// 7fc00000 (FP32), 7ff8000000000000 (FP64).
uint64_t Round(DType dtype, double value);

// Tile sums of `elements` >= 0 consecutive elements: sums[TileCount(elements)]. Which NaN a NaN is, is
// undefined.
void TileSums(const Formula& formula, const void* input, const void* target, int64_t elements, double* sums);

// Pointwise losses, rounded to formula.output(): `elements` >= 0 values at `out`, which overlaps neither
// tensor.
void Pointwise(const Formula& formula, const void* input, const void* target, int64_t elements, void* out);

// The upper levels of the tree over `count` >= 0 tile sums, in order. Overwrites them. NaN canonical; +0 when
// there are none.
double Fold(double* sums, int64_t count);

// LN and EXP by themselves, as the target's dtype selects them.
double Ln(DType target, double t);
double Exp(DType target, double t);

}  // namespace kldiv::numerics::scalar

#endif  // KLDIV_SERVER_NUMERICS_SCALAR_H_
