#include "tests/golden/formats.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace kldiv::golden {
namespace {

using numerics::DType;

int Bias(Format format) { return (1 << (format.exponent_bits - 1)) - 1; }

}  // namespace

Format FormatOf(DType dtype) {
  switch (dtype) {
    case DType::kFp16:
      return {5, 10};
    case DType::kBf16:
      return {8, 7};
    case DType::kFp32:
      return {8, 23};
    case DType::kFp64:
      break;
  }
  return {11, 52};
}

uint64_t ElementBits(DType dtype, std::string_view bytes, int64_t index) {
  const auto size = static_cast<size_t>(ElementSize(dtype));
  uint64_t bits = 0;
  std::memcpy(&bits, bytes.data() + static_cast<size_t>(index) * size, size);
  return bits;
}

void AppendElement(DType dtype, uint64_t bits, std::string& bytes) {
  for (int i = 0; i < ElementSize(dtype); ++i) bytes.push_back(static_cast<char>(bits >> (8 * i) & 0xff));
}

double Decode(DType dtype, uint64_t bits) {
  const Format format = FormatOf(dtype);
  const uint64_t fraction = bits & ((uint64_t{1} << format.fraction_bits) - 1);
  const auto highest = (uint64_t{1} << format.exponent_bits) - 1;
  const uint64_t exponent = bits >> format.fraction_bits & highest;
  const double sign = (bits >> (format.exponent_bits + format.fraction_bits) & 1) != 0 ? -1.0 : 1.0;
  if (exponent == highest) {
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  const uint64_t significand = exponent == 0 ? fraction : fraction | uint64_t{1} << format.fraction_bits;
  const int power = static_cast<int>(std::max<uint64_t>(exponent, 1)) - Bias(format) - format.fraction_bits;
  return sign * std::ldexp(static_cast<double>(significand), power);
}

uint64_t CanonicalNaN(DType dtype) {
  const Format format = FormatOf(dtype);
  return ((uint64_t{1} << (format.exponent_bits + 1)) - 1) << (format.fraction_bits - 1);
}

double Ulp(DType dtype, double value) {
  const Format format = FormatOf(dtype);
  const int lowest = 1 - Bias(format);
  const int exponent = value == 0 ? lowest : std::max(lowest, std::ilogb(value));
  return std::ldexp(1.0, exponent - format.fraction_bits);
}

double OverflowThreshold(DType dtype) {
  const Format format = FormatOf(dtype);
  return std::ldexp(2.0 - std::ldexp(1.0, -format.fraction_bits - 1), Bias(format));
}

}  // namespace kldiv::golden
