#ifndef KLDIV_TESTS_INTEGRATION_REQUESTS_H_
#define KLDIV_TESTS_INTEGRATION_REQUESTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "kldiv/v1/kldiv.pb.h"

namespace kldiv::integration {

// Sets a tensor of FP32 values with one dimension.
void SetTensor(const std::vector<float>& values, v1::Tensor* tensor);

// A valid request over `elements` elements of FP32, REDUCTION_SUM: t = 1/elements, x = -1. Its loss is
// 1 - log(elements), and for equal `elements` the same bits each time.
v1::EvaluateRequest UniformRequest(int64_t elements, uint64_t request_id = 0);

}  // namespace kldiv::integration

#endif  // KLDIV_TESTS_INTEGRATION_REQUESTS_H_
