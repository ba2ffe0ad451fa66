#ifndef KLDIV_CLIENT_LOAD_RANDOM_DATA_H_
#define KLDIV_CLIENT_LOAD_RANDOM_DATA_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "client/include/kldiv/client.h"

namespace kldiv::load {

// Uniform in [0, 1).
inline double Uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

// A tensor whose rows, along the last dimension, are random distributions: probabilities or their logarithms,
// rounded to `dtype`. `elements` is the product of `shape`.
std::vector<std::byte> RandomDistributions(std::mt19937_64& random, DType dtype,
                                           std::span<const int64_t> shape, int64_t elements, bool logarithms);

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_RANDOM_DATA_H_
