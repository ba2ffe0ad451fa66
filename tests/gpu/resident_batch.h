#ifndef KLDIV_TESTS_GPU_RESIDENT_BATCH_H_
#define KLDIV_TESTS_GPU_RESIDENT_BATCH_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/cuda/cuda_handles.h"
#include "server/cuda/staging.h"
#include "tests/gpu/workload.h"

namespace kldiv::cuda::testing {

// A workload whose tensors and tile table lie on a device: to see what the kernel and the copies cost alone.
// Belongs to one thread, whose device is the one that is meant.
class ResidentBatch {
 public:
  // Allocates, and copies to the device. The workload outlives it. An error names the call that failed.
  static absl::StatusOr<std::unique_ptr<ResidentBatch>> Make(const Workload& workload);

  // These enqueue `times` operations and wait for them.
  absl::Status Launch(int64_t times);        // of the kernel, over the whole batch
  absl::Status CopyFromHost(int64_t times);  // of all that the lane copies, from pinned memory
  absl::Status CopyOnDevice(int64_t times);  // of the same bytes to other memory of the device

  // Bytes of each of these copies.
  int64_t copied_bytes() const { return round_.staging_bytes(); }

  // Brings the results of the last launch into the workload.
  absl::Status FetchResults();

 private:
  ResidentBatch() = default;
  absl::Status Wait();

  Round round_;
  PinnedMemory host_staging_;
  PinnedMemory host_results_;
  DeviceMemory staging_;
  DeviceMemory copy_;
  DeviceMemory results_;
  Stream stream_;
};

}  // namespace kldiv::cuda::testing

#endif  // KLDIV_TESTS_GPU_RESIDENT_BATCH_H_
