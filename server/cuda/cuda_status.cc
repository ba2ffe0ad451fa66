#include "server/cuda/cuda_status.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "server/observability/log.h"

namespace kldiv::cuda {

absl::Status CudaStatus(std::string_view call, cudaError_t error) {
  if (error == cudaSuccess) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(absl::string_view(call.data(), call.size()), ": ",
                                             cudaGetErrorName(error), " (", static_cast<int>(error), "), ",
                                             cudaGetErrorString(error)));
}

void LogCudaFailure(std::string_view call, cudaError_t error) noexcept {
  if (error == cudaSuccess) return;
  // A lost device refuses to release anything: hence with a limit.
  server::LogFromLibrary("cuda", server::LogLevel::kWarning, std::string(CudaStatus(call, error).message()));
}

}  // namespace kldiv::cuda
