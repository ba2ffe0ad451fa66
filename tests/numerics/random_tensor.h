#ifndef KLDIV_TESTS_NUMERICS_RANDOM_TENSOR_H_
#define KLDIV_TESTS_NUMERICS_RANDOM_TENSOR_H_

#include <cstdint>
#include <random>
#include <vector>

#include "server/numerics/formula.h"

namespace kldiv::numerics {

enum class Contents { kProbabilities, kLogProbabilities };

// The bytes of `elements` random elements. Of `special` elements one, on average, is a value at which
// arithmetic goes wrong (zeros, infinities, NaN of any sign and payload, subnormals, the ends of each format,
// negative probabilities); 0: none.
std::vector<uint8_t> RandomTensor(std::mt19937_64& random, DType dtype, int64_t elements, Contents contents,
                                  int special);

}  // namespace kldiv::numerics

#endif  // KLDIV_TESTS_NUMERICS_RANDOM_TENSOR_H_
