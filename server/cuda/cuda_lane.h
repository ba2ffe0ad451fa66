#ifndef KLDIV_SERVER_CUDA_CUDA_LANE_H_
#define KLDIV_SERVER_CUDA_CUDA_LANE_H_

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/cuda/cuda_devices.h"
#include "server/cuda/staging.h"
#include "server/lanes/lane.h"

namespace kldiv::cuda {

// What the lanes of a device share. Thread-safe.
class DeviceState {
 public:
  explicit DeviceState(Device device) : device_(std::move(device)) {}

  const Device& device() const { return device_; }

  // Nothing can be done with it any more in this process.
  bool lost() const { return lost_.load(std::memory_order_acquire); }
  // True for the first who says so.
  bool SetLost() { return !lost_.exchange(true, std::memory_order_acq_rel); }

  // So many failed runs in a row, of all its lanes: it is broken, though every error went away by itself.
  static constexpr int kFailuresOfABrokenDevice = 16;
  void CountSuccess() { failures_.store(0, std::memory_order_relaxed); }
  // True when this one shows that the device is broken.
  bool CountFailure() {
    return failures_.fetch_add(1, std::memory_order_relaxed) + 1 >= kFailuresOfABrokenDevice;
  }

 private:
  const Device device_;
  std::atomic<bool> lost_ = false;
  std::atomic<int> failures_ = 0;
};

// A lane that evaluates on a CUDA device: gathers the pieces into pinned memory, and on its own stream copies
// them to the device once, launches the kernel once, copies the results back once; sleeps until that is done,
// and hands the results out. Several lanes keep a device busy: one gathers while others copy and compute.
//
// Pieces that exceed the buffers are evaluated in several such rounds, cut at tiles, with the same bits.
// Nothing is allocated on the device or pinned after its making.
//
// Run answers UNAVAILABLE with the device's name, the call that failed, and the error. The lane then goes on
// serving if the device does; if not, or after too many such runs in a row, all lanes of the device leave
// service.
//
// UNAVAILABLE when something cannot be made, in the same words.
absl::StatusOr<std::unique_ptr<server::Lane>> MakeCudaLane(std::shared_ptr<DeviceState> device,
                                                           const BufferSizes& sizes);

}  // namespace kldiv::cuda

#endif  // KLDIV_SERVER_CUDA_CUDA_LANE_H_
