#ifndef KLDIV_TESTS_GOLDEN_FORMATS_H_
#define KLDIV_TESTS_GOLDEN_FORMATS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "server/numerics/formula.h"

// The floating-point formats by their definitions, independent of the arithmetic that is judged with them.
namespace kldiv::golden {

struct Format {
  int exponent_bits;
  int fraction_bits;
};

Format FormatOf(numerics::DType dtype);

// Element `index` of a tensor's bytes.
uint64_t ElementBits(numerics::DType dtype, std::string_view bytes, int64_t index);
void AppendElement(numerics::DType dtype, uint64_t bits, std::string& bytes);

// The number that these bits mean, exactly.
double Decode(numerics::DType dtype, uint64_t bits);

// The bits of a NaN in an answer.
uint64_t CanonicalNaN(numerics::DType dtype);

// The distance of the two neighbouring numbers around `value`, a finite one: a unit in the last place.
double Ulp(numerics::DType dtype, double value);

// From here on, rounding to nearest gives infinity.
double OverflowThreshold(numerics::DType dtype);

}  // namespace kldiv::golden

#endif  // KLDIV_TESTS_GOLDEN_FORMATS_H_
