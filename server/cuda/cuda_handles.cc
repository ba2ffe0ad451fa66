#include "server/cuda/cuda_handles.h"

#include "absl/strings/str_cat.h"

namespace kldiv::cuda {

absl::StatusOr<Stream> MakeStream() {
  cudaStream_t stream = nullptr;
  const cudaError_t error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (error != cudaSuccess) return CudaStatus("cudaStreamCreateWithFlags", error);
  return Stream(stream);
}

absl::StatusOr<Event> MakeEvent() {
  cudaEvent_t event = nullptr;
  const cudaError_t error = cudaEventCreateWithFlags(&event, cudaEventBlockingSync);
  if (error != cudaSuccess) return CudaStatus("cudaEventCreateWithFlags", error);
  return Event(event);
}

absl::StatusOr<DeviceMemory> MakeDeviceMemory(int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, static_cast<size_t>(bytes));
  if (error != cudaSuccess) return CudaStatus(absl::StrCat("cudaMalloc of ", bytes, " bytes"), error);
  return DeviceMemory(static_cast<uint8_t*>(memory));
}

absl::StatusOr<PinnedMemory> MakePinnedMemory(int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t error = cudaHostAlloc(&memory, static_cast<size_t>(bytes), cudaHostAllocPortable);
  if (error != cudaSuccess) return CudaStatus(absl::StrCat("cudaHostAlloc of ", bytes, " bytes"), error);
  return PinnedMemory(static_cast<uint8_t*>(memory));
}

}  // namespace kldiv::cuda
