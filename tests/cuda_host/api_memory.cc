// The CUDA runtime's functions about memory.

#include <cstring>
#include <memory>
#include <vector>

#include "tests/cuda_host/runtime.h"

namespace kldiv::cuda_host {
namespace {

cudaError_t Allocate(void** pointer, size_t bytes, MemoryKind kind) {
  if (pointer == nullptr) return cudaErrorInvalidValue;
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  Runtime& runtime = Runtime::Get();
  const int device = ThisThread().device;
  const UnseenLock lock(runtime.mutex);
  if (kind == MemoryKind::kDevice && bytes > runtime.device_memory - runtime.memory.DeviceBytes(device)) {
    return cudaErrorMemoryAllocation;
  }
  *pointer = runtime.memory.Allocate(kind, device, bytes);
  return *pointer != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}

// Waits for the device, as the real runtime does before it releases memory.
cudaError_t Release(void* pointer, MemoryKind kind) {
  if (pointer == nullptr) return cudaSuccess;
  Runtime& runtime = Runtime::Get();
  const int device = ThisThread().device;
  const cudaError_t error = WaitForDevice(device);
  const UnseenLock lock(runtime.mutex);
  if (!runtime.memory.Release(pointer, kind)) return cudaErrorInvalidValue;
  return error;
}

// What a copy has at either end, and whether that fits its direction and length.
struct CopyEnds {
  MemoryKind to = MemoryKind::kPageable;
  MemoryKind from = MemoryKind::kPageable;
  bool valid = false;
};

CopyEnds CheckCopy(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  Runtime& runtime = Runtime::Get();
  const UnseenLock lock(runtime.mutex);
  const MemoryPlace to_place = runtime.memory.Find(to);
  const MemoryPlace from_place = runtime.memory.Find(from);
  const auto fits = [&](const MemoryPlace& place) {
    return place.kind == MemoryKind::kPageable || bytes <= place.bytes_left;
  };
  bool valid = fits(to_place) && fits(from_place);
  if (kind != cudaMemcpyDefault) {
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    valid = valid && to_device == (to_place.kind == MemoryKind::kDevice) &&
            from_device == (from_place.kind == MemoryKind::kDevice);
  }
  return {to_place.kind, from_place.kind, valid};
}

cudaError_t CountCopy() {
  Runtime& runtime = Runtime::Get();
  const UnseenLock lock(runtime.mutex);
  return runtime.faults.Count("copy");
}

cudaError_t Copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream,
                 bool async) {
  if (bytes == 0) return cudaSuccess;
  const CopyEnds ends = CheckCopy(to, from, bytes, kind);
  if (!ends.valid) return cudaErrorInvalidValue;
  const bool pageable = ends.to == MemoryKind::kPageable || ends.from == MemoryKind::kPageable;
  if (async && pageable) {
    Runtime& runtime = Runtime::Get();
    const UnseenLock lock(runtime.mutex);
    ++runtime.pageable_async_copies;
  }
  // Pageable memory is read before the call returns, and written before it does.
  std::shared_ptr<std::vector<unsigned char>> staged;
  if (ends.from == MemoryKind::kPageable && async) {
    const auto* begin = static_cast<const unsigned char*>(from);
    staged = std::make_shared<std::vector<unsigned char>>(begin, begin + bytes);
    from = staged->data();
  }
  const OperationRef operation = Enqueue(stream, [=] {
    const cudaError_t injected = CountCopy();
    if (injected == cudaSuccess) std::memmove(to, from, bytes);
    (void)staged;
    return injected;
  });
  if (!operation) return cudaErrorInvalidResourceHandle;
  return async && ends.to != MemoryKind::kPageable ? cudaSuccess : Wait(operation);
}

}  // namespace
}  // namespace kldiv::cuda_host

using namespace kldiv::cuda_host;  // NOLINT(google-build-using-namespace): these functions are its public
                                   // face

extern "C" {

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return Call("cudaMalloc", [&] { return Allocate(pointer, bytes, MemoryKind::kDevice); });
}

cudaError_t cudaFree(void* pointer) {
  return CallToRelease("cudaFree", [&] { return Release(pointer, MemoryKind::kDevice); });
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  return Call("cudaHostAlloc", [&] { return Allocate(pointer, bytes, MemoryKind::kPinned); });
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return Call("cudaMallocHost", [&] { return Allocate(pointer, bytes, MemoryKind::kPinned); });
}

cudaError_t cudaFreeHost(void* pointer) {
  return CallToRelease("cudaFreeHost", [&] { return Release(pointer, MemoryKind::kPinned); });
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  return Call("cudaMemGetInfo", [&] {
    Runtime& runtime = Runtime::Get();
    const UnseenLock lock(runtime.mutex);
    *total_bytes = runtime.device_memory;
    *free_bytes = runtime.device_memory - runtime.memory.DeviceBytes(ThisThread().device);
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return Call("cudaMemcpy", [&] { return Copy(to, from, bytes, kind, nullptr, /*async=*/false); });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return Call("cudaMemcpyAsync", [&] { return Copy(to, from, bytes, kind, stream, /*async=*/true); });
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return Call("cudaMemsetAsync", [&] {
    if (bytes == 0) return cudaSuccess;
    {
      Runtime& runtime = Runtime::Get();
      const UnseenLock lock(runtime.mutex);
      const MemoryPlace place = runtime.memory.Find(to);
      if (place.kind == MemoryKind::kPageable || bytes > place.bytes_left) return cudaErrorInvalidValue;
    }
    const OperationRef operation = Enqueue(stream, [=] {
      std::memset(to, value, bytes);
      return cudaSuccess;
    });
    return operation ? cudaSuccess : cudaErrorInvalidResourceHandle;
  });
}

}  // extern "C"
