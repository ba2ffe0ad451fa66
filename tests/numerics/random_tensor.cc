#include "tests/numerics/random_tensor.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "server/numerics/scalar.h"

namespace kldiv::numerics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kSpecial[] = {0.0,     -0.0,  kInfinity, -kInfinity, kNaN,  1.0,   -1.0,     5e-324, 1e-310,
                               1e-40,   1e-45, -1e-45,    6e-8,       3e-5,  65504, 65520,    3.4e38, 1e308,
                               2.6e305, -800,  -745,      -708.5,     709.7, 710,   0x1p-1022};

// The bits of a NaN besides those that make it one.
uint64_t NaNPayload(DType dtype) {
  switch (dtype) {
    case DType::kFp16:
      return 0x83ff;
    case DType::kBf16:
      return 0x807f;
    case DType::kFp32:
      return 0x807fffff;
    case DType::kFp64:
      break;
  }
  return 0x800fffffffffffff;
}

}  // namespace

std::vector<uint8_t> RandomTensor(std::mt19937_64& random, DType dtype, int64_t elements, Contents contents,
                                  int special) {
  const auto size = static_cast<size_t>(ElementSize(dtype));
  std::vector<uint8_t> bytes(static_cast<size_t>(elements) * size);
  for (size_t at = 0; at < bytes.size(); at += size) {
    const double unit = static_cast<double>(random() >> 11) * 0x1p-53;
    double value = contents == Contents::kProbabilities ? unit : std::log(unit + 1e-9);
    if (special > 0 && random() % static_cast<uint64_t>(special) == 0) {
      value = kSpecial[random() % std::size(kSpecial)];
    }
    uint64_t bits = scalar::Round(dtype, value);
    if (std::isnan(value)) bits |= random() & NaNPayload(dtype);
    std::memcpy(&bytes[at], &bits, size);
  }
  return bytes;
}

}  // namespace kldiv::numerics
