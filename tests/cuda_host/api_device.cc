// The CUDA runtime's functions about devices, kernels' attributes and versions.

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "tests/cuda_host/kernel.h"
#include "tests/cuda_host/runtime.h"

namespace kldiv::cuda_host {
namespace {

constexpr int kMultiprocessors = 4;
constexpr int kThreadsPerMultiprocessor = 2048;
constexpr int kRegistersPerMultiprocessor = 65536;
constexpr int kRegistersPerThread = 80;  // what a kernel is taken to use
constexpr size_t kSharedMemoryPerBlock = size_t{48} << 10;
constexpr size_t kSharedMemoryPerMultiprocessor = size_t{100} << 10;

bool IsDevice(int device) {
  Runtime& runtime = Runtime::Get();
  const UnseenLock lock(runtime.mutex);
  return device >= 0 && device < runtime.device_count;
}

void FillProperties(cudaDeviceProp* properties) {
  Runtime& runtime = Runtime::Get();
  std::memset(properties, 0, sizeof *properties);
  std::snprintf(properties->name, sizeof properties->name, "emulated on the CPU");
  properties->major = 9;
  properties->warpSize = 32;
  properties->multiProcessorCount = kMultiprocessors;
  properties->maxThreadsPerBlock = kMaxThreadsPerBlock;
  properties->maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
  properties->regsPerBlock = kRegistersPerMultiprocessor;
  properties->regsPerMultiprocessor = kRegistersPerMultiprocessor;
  properties->sharedMemPerBlock = kSharedMemoryPerBlock;
  properties->sharedMemPerMultiprocessor = kSharedMemoryPerMultiprocessor;
  properties->asyncEngineCount = 2;
  properties->concurrentKernels = 1;
  properties->unifiedAddressing = 1;
  properties->canMapHostMemory = 1;
  const UnseenLock lock(runtime.mutex);
  properties->totalGlobalMem = runtime.device_memory;
}

int ActiveBlocks(int threads, size_t dynamic_shared_bytes) {
  const int warps = (threads + 31) / 32;
  int blocks = std::min(kThreadsPerMultiprocessor / (warps * 32),
                        kRegistersPerMultiprocessor / (kRegistersPerThread * warps * 32));
  if (dynamic_shared_bytes > 0) {
    blocks = std::min(blocks, static_cast<int>(kSharedMemoryPerMultiprocessor / dynamic_shared_bytes));
  }
  return blocks;
}

// Releases all that the device has, as cudaDeviceReset does: handles to it are then invalid.
void ReleaseDevice(int device) {
  Runtime& runtime = Runtime::Get();
  WaitForDevice(device);
  const UnseenLock lock(runtime.mutex);
  runtime.memory.ReleaseAll(device, /*pinned=*/runtime.device_count == 1);
  std::erase_if(runtime.events, [&](cudaEvent_t event) {
    if (event->device != device) return false;
    delete event;
    return true;
  });
  std::erase_if(runtime.streams, [&](cudaStream_t stream) {
    if (stream->device != device || stream == runtime.null_streams[device]) return false;
    if (!stream->pending.empty()) return stream->destroyed = true, false;  // enqueued meanwhile: goes later
    delete stream;
    return true;
  });
}

}  // namespace
}  // namespace kldiv::cuda_host

using namespace kldiv::cuda_host;  // NOLINT(google-build-using-namespace): these functions are its public
                                   // face

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  return CallAboutDevice("cudaGetDeviceCount", [&] {
    Runtime& runtime = Runtime::Get();
    const UnseenLock lock(runtime.mutex);
    *count = runtime.device_count;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return CallAboutDevice("cudaSetDevice", [&] {
    if (!IsDevice(device)) return cudaErrorInvalidDevice;
    ThisThread().device = device;
    Runtime& runtime = Runtime::Get();
    const UnseenLock lock(runtime.mutex);
    return runtime.sticky[device];
  });
}

cudaError_t cudaGetDevice(int* device) {
  return CallAboutDevice("cudaGetDevice", [&] {
    *device = ThisThread().device;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDeviceFlags(unsigned) {
  return Call("cudaSetDeviceFlags", [] { return cudaSuccess; });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return CallAboutDevice("cudaGetDeviceProperties", [&] {
    if (!IsDevice(device)) return cudaErrorInvalidDevice;
    FillProperties(properties);
    return cudaSuccess;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  return CallAboutDevice("cudaDriverGetVersion", [&] {
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  return Call("cudaDeviceSynchronize", [] { return WaitForDevice(ThisThread().device); });
}

// A lost context stays lost, as the documentation has it: only a new process has another.
cudaError_t cudaDeviceReset() {
  return CallToRelease("cudaDeviceReset", [] {
    ReleaseDevice(ThisThread().device);
    return cudaSuccess;
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return Call("cudaFuncGetAttributes", [&] {
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    std::memset(attributes, 0, sizeof *attributes);
    attributes->maxThreadsPerBlock = kMaxThreadsPerBlock;
    attributes->numRegs = kRegistersPerThread;
    attributes->ptxVersion = 90;
    attributes->binaryVersion = 90;
    attributes->maxDynamicSharedSizeBytes = static_cast<int>(kSharedMemoryPerBlock);
    return cudaSuccess;
  });
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return Call("cudaFuncSetAttribute", [&] {
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    const bool too_much = attribute == cudaFuncAttributeMaxDynamicSharedMemorySize &&
                          value > static_cast<int>(kSharedMemoryPerBlock);
    return value < -1 || too_much ? cudaErrorInvalidValue : cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function, int threads,
                                                          size_t dynamic_shared_bytes) {
  return Call("cudaOccupancyMaxActiveBlocksPerMultiprocessor", [&] {
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    if (threads < 1 || threads > kMaxThreadsPerBlock) return cudaErrorInvalidValue;
    *blocks = ActiveBlocks(threads, dynamic_shared_bytes);
    return cudaSuccess;
  });
}

}  // extern "C"
