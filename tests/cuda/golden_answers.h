#ifndef KLDIV_TESTS_CUDA_GOLDEN_ANSWERS_H_
#define KLDIV_TESTS_CUDA_GOLDEN_ANSWERS_H_

#include <string>
#include <vector>

#include "server/lanes/lane.h"
#include "tests/golden/golden.h"

namespace kldiv::cuda::testing {

// Evaluates each case of at most `max_elements` with the lane, in one batch, for its sum and for `none`.
// Returns what is wrong with the answers, one entry each: nothing when all are right.
std::vector<std::string> WrongGoldenAnswers(server::Lane& lane, const golden::Cases& cases,
                                            int64_t max_elements);

}  // namespace kldiv::cuda::testing

#endif  // KLDIV_TESTS_CUDA_GOLDEN_ANSWERS_H_
