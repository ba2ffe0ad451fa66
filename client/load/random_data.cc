#include "client/load/random_data.h"

#include <cmath>
#include <cstring>

#include "client/npy.h"
#include "server/numerics/scalar.h"

namespace kldiv::load {

std::vector<std::byte> RandomDistributions(std::mt19937_64& random, DType dtype,
                                           std::span<const int64_t> shape, int64_t elements,
                                           bool logarithms) {
  constexpr double kSpread = 4;  // of the logits: the likeliest class is some fifty times the least likely
  const auto size = static_cast<size_t>(npy::ElementSize(dtype));
  std::vector<std::byte> bytes(static_cast<size_t>(elements) * size);
  const int64_t row = shape.empty() ? 1 : shape.back();
  std::vector<double> logits(static_cast<size_t>(elements == 0 ? 0 : row));
  std::byte* out = bytes.data();
  for (int64_t done = 0; done < elements; done += row) {
    double sum = 0;
    for (double& logit : logits) {
      logit = kSpread * Uniform(random);
      sum += std::exp(logit);
    }
    const double log_sum = std::log(sum);
    for (const double logit : logits) {
      const double value = logarithms ? logit - log_sum : std::exp(logit - log_sum);
      const uint64_t bits = numerics::scalar::Round(static_cast<numerics::DType>(dtype), value);
      std::memcpy(out, &bits, size);  // The first bytes of a little-endian number.
      out += size;
    }
  }
  return bytes;
}

}  // namespace kldiv::load
