#include "tests/integration/requests.h"

namespace kldiv::integration {

void SetTensor(const std::vector<float>& values, v1::Tensor* tensor) {
  tensor->set_dtype(v1::DATA_TYPE_FP32);
  tensor->add_shape(static_cast<int64_t>(values.size()));
  tensor->set_data(values.data(), values.size() * sizeof(float));
}

v1::EvaluateRequest UniformRequest(int64_t elements, uint64_t request_id) {
  const auto count = static_cast<size_t>(elements);
  v1::EvaluateRequest request;
  request.set_request_id(request_id);
  SetTensor(std::vector<float>(count, -1.0f), request.mutable_input());
  SetTensor(std::vector<float>(count, 1.0f / static_cast<float>(elements)), request.mutable_target());
  request.set_reduction(v1::REDUCTION_SUM);
  return request;
}

}  // namespace kldiv::integration
