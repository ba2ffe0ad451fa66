#ifndef KLDIV_SERVER_CUDA_CUDA_STATUS_H_
#define KLDIV_SERVER_CUDA_CUDA_STATUS_H_

#include <cuda_runtime_api.h>

#include <string_view>

#include "absl/status/status.h"

namespace kldiv::cuda {

// OK, or UNAVAILABLE, "cudaMalloc: cudaErrorMemoryAllocation (2), out of memory". `call` is the function's
// name.
absl::Status CudaStatus(std::string_view call, cudaError_t error);

// For destructors, which have nobody to tell: a failure is a line of the log,
// a few a second at most.
void LogCudaFailure(std::string_view call, cudaError_t error) noexcept;

}  // namespace kldiv::cuda

#endif  // KLDIV_SERVER_CUDA_CUDA_STATUS_H_
