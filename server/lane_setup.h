#ifndef KLDIV_SERVER_LANE_SETUP_H_
#define KLDIV_SERVER_LANE_SETUP_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/cuda/cuda_devices.h"
#include "server/lanes/lane.h"
#include "server/options.h"

namespace kldiv::server {

std::vector<std::unique_ptr<Lane>> MakeCpuLanes(int count);

struct CudaLanes {
  std::vector<std::unique_ptr<Lane>> lanes;
  std::vector<cuda::Device> devices;  // whose they are
};

// Lanes of all devices of the options. A device without memory for its lanes does not serve, which is logged;
// with --backend=cuda it is FAILED_PRECONDITION.
absl::StatusOr<CudaLanes> MakeCudaLanes(const ServerOptions& options);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_LANE_SETUP_H_
