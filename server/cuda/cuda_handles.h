#ifndef KLDIV_SERVER_CUDA_CUDA_HANDLES_H_
#define KLDIV_SERVER_CUDA_CUDA_HANDLES_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "server/cuda/cuda_status.h"

// What is created on a device and has to be given back. Each of these owns one thing, moves and does not
// copy; an empty one owns nothing. Destructors wait for nothing, throw nothing, and log what fails.
//
// To be made on a thread whose device is the one that is meant; may be destroyed on any. UNAVAILABLE when the
// runtime refuses.
namespace kldiv::cuda {

// `Kind` says what it is: its Value, which is null when there is nothing, and its Release.
template <class Kind>
class Handle {
 public:
  using Value = typename Kind::Value;

  Handle() = default;
  explicit Handle(Value value) : value_(value) {}
  Handle(Handle&& other) noexcept : value_(std::exchange(other.value_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~Handle() {
    if (value_ != nullptr) LogCudaFailure(Kind::kReleaseName, Kind::Release(value_));
  }

  Value get() const { return value_; }

 private:
  Value value_ = nullptr;
};

struct StreamKind {
  using Value = cudaStream_t;
  static constexpr char kReleaseName[] = "cudaStreamDestroy";
  static cudaError_t Release(Value stream) { return cudaStreamDestroy(stream); }
};
struct EventKind {
  using Value = cudaEvent_t;
  static constexpr char kReleaseName[] = "cudaEventDestroy";
  static cudaError_t Release(Value event) { return cudaEventDestroy(event); }
};
struct DeviceMemoryKind {
  using Value = uint8_t*;
  static constexpr char kReleaseName[] = "cudaFree";
  static cudaError_t Release(Value memory) { return cudaFree(memory); }
};
struct PinnedMemoryKind {
  using Value = uint8_t*;
  static constexpr char kReleaseName[] = "cudaFreeHost";
  static cudaError_t Release(Value memory) { return cudaFreeHost(memory); }
};

using Stream = Handle<StreamKind>;
using Event = Handle<EventKind>;
using DeviceMemory = Handle<DeviceMemoryKind>;
using PinnedMemory = Handle<PinnedMemoryKind>;

// Ordered with no other stream, not even with the default one.
absl::StatusOr<Stream> MakeStream();
// For waiting and for telling times: whoever waits for it sleeps.
absl::StatusOr<Event> MakeEvent();
// Aligned for any vector. The bytes are in the message of a failure.
absl::StatusOr<DeviceMemory> MakeDeviceMemory(int64_t bytes);
absl::StatusOr<PinnedMemory> MakePinnedMemory(int64_t bytes);

}  // namespace kldiv::cuda

#endif  // KLDIV_SERVER_CUDA_CUDA_HANDLES_H_
