// A build without CUDA.

#include "absl/status/status.h"
#include "server/cuda/cuda_devices.h"

namespace kldiv::cuda {

bool IsBuiltIn() { return false; }

absl::StatusOr<FoundDevices> FindDevices(const std::optional<std::vector<int>>& /*numbers*/) {
  return absl::UnavailableError("this build has no CUDA");
}

int64_t LaneHostBytes(int64_t /*max_batch_bytes*/) { return 0; }

absl::StatusOr<std::vector<std::unique_ptr<server::Lane>>> MakeLanes(const Device& /*device*/, int /*lanes*/,
                                                                     int64_t /*max_batch_bytes*/) {
  return absl::UnavailableError("this build has no CUDA");
}

}  // namespace kldiv::cuda
