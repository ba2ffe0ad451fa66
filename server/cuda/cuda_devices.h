#ifndef KLDIV_SERVER_CUDA_CUDA_DEVICES_H_
#define KLDIV_SERVER_CUDA_CUDA_DEVICES_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/lanes/lane.h"

// What the server sees of CUDA. Every build has these functions; in one without CUDA no device is ever found.
namespace kldiv::cuda {

struct Device {
  int number = 0;    // as the runtime counts them
  std::string name;  // "cuda:0 NVIDIA H100 80GB HBM3"
};

struct FoundDevices {
  std::vector<Device> devices;        // that can execute the kernel
  std::vector<std::string> warnings;  // a sentence for each of the others
};

// Was CUDA compiled in? Says nothing about devices.
bool IsBuiltIn();

// Devices `numbers`, or all of them. UNAVAILABLE when none works: the message names the call that failed, and
// how. Initializes CUDA, which takes its time and memory.
absl::StatusOr<FoundDevices> FindDevices(const std::optional<std::vector<int>>& numbers);

// Memory of the host that one lane holds from its making on.
int64_t LaneHostBytes(int64_t max_batch_bytes);

// Lanes of one device, each with a stream and buffers of its own, all made here and now, for batches of about
// `max_batch_bytes`: a longer one takes several rounds. When the device is lost, all of them leave service.
//
// UNAVAILABLE when something cannot be made: the message names the device, the call and the error. Nothing is
// left over then.
absl::StatusOr<std::vector<std::unique_ptr<server::Lane>>> MakeLanes(const Device& device, int lanes,
                                                                     int64_t max_batch_bytes);

}  // namespace kldiv::cuda

#endif  // KLDIV_SERVER_CUDA_CUDA_DEVICES_H_
