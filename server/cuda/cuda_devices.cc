#include "server/cuda/cuda_devices.h"

#include <cuda_runtime_api.h>

#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/cuda/cuda_lane.h"
#include "server/cuda/cuda_status.h"
#include "server/cuda/kl_kernel.h"
#include "server/cuda/staging.h"

namespace kldiv::cuda {
namespace {

absl::StatusOr<Device> OpenDevice(int number) {
  cudaDeviceProp properties;
  absl::Status status = CudaStatus("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, number));
  if (status.ok()) status = CudaStatus("cudaSetDevice", cudaSetDevice(number));
  // Loads the kernel: an old device has no code for it.
  if (status.ok()) status = CudaStatus("cudaFuncGetAttributes", CheckKlKernel());
  if (!status.ok()) return absl::UnavailableError(absl::StrCat("cuda:", number, ": ", status.message()));
  return Device{number, absl::StrCat("cuda:", number, " ", properties.name)};
}

}  // namespace

bool IsBuiltIn() { return true; }

absl::StatusOr<FoundDevices> FindDevices(const std::optional<std::vector<int>>& numbers) {
  int count = 0;  // on an error the runtime leaves it untouched
  if (absl::Status status = CudaStatus("cudaGetDeviceCount", cudaGetDeviceCount(&count)); !status.ok()) {
    return status;
  }
  std::vector<int> wanted(static_cast<size_t>(count));
  std::iota(wanted.begin(), wanted.end(), 0);
  if (numbers.has_value()) wanted = *numbers;

  FoundDevices found;
  for (const int number : wanted) {
    absl::StatusOr<Device> device = OpenDevice(number);
    if (device.ok()) {
      found.devices.push_back(*std::move(device));
    } else {
      found.warnings.emplace_back(device.status().message());
    }
  }
  if (!found.devices.empty()) return found;
  return absl::UnavailableError(found.warnings.empty() ? "cudaGetDeviceCount: there is no device"
                                                       : found.warnings.front());
}

int64_t LaneHostBytes(int64_t max_batch_bytes) {
  const BufferSizes sizes = BufferSizesFor(max_batch_bytes);
  return sizes.staging_bytes + sizes.result_bytes;
}

absl::StatusOr<std::vector<std::unique_ptr<server::Lane>>> MakeLanes(const Device& device, int lanes,
                                                                     int64_t max_batch_bytes) {
  const auto state = std::make_shared<DeviceState>(device);
  std::vector<std::unique_ptr<server::Lane>> made;
  for (int i = 0; i < lanes; ++i) {
    absl::StatusOr<std::unique_ptr<server::Lane>> lane = MakeCudaLane(state, BufferSizesFor(max_batch_bytes));
    if (!lane.ok()) return lane.status();
    made.push_back(*std::move(lane));
  }
  return made;
}

}  // namespace kldiv::cuda
