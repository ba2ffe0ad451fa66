#include "server/lane_setup.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/lanes/cpu_lane.h"
#include "server/observability/log.h"

namespace kldiv::server {

std::vector<std::unique_ptr<Lane>> MakeCpuLanes(int count) {
  std::vector<std::unique_ptr<Lane>> lanes;
  for (int i = 0; i < count; ++i) lanes.push_back(MakeCpuLane());
  return lanes;
}

absl::StatusOr<CudaLanes> MakeCudaLanes(const ServerOptions& options) {
  CudaLanes made;
  for (const cuda::Device& device : options.cuda_devices) {
    auto lanes = cuda::MakeLanes(device, options.cuda_lanes, options.max_batch_bytes);
    if (lanes.ok()) {
      made.devices.push_back(device);
      for (std::unique_ptr<Lane>& lane : *lanes) made.lanes.push_back(std::move(lane));
    } else if (options.backend == Backend::kCuda) {
      return absl::FailedPreconditionError(absl::StrCat("--backend=cuda: ", lanes.status().message()));
    } else {
      Log(LogLevel::kWarning, "a CUDA device does not serve",
          {{"error", std::string(lanes.status().message())}});
    }
  }
  return made;
}

}  // namespace kldiv::server
