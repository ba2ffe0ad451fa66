// The CUDA runtime's function that launches kernels, for kernels that the host's compiler has compiled.

#include <cstdio>

#include "tests/cuda_host/kernel.h"
#include "tests/cuda_host/launch.h"
#include "tests/cuda_host/runtime.h"

namespace kldiv::cuda_host {
namespace {

constexpr size_t kMaxDynamicSharedBytes = size_t{48} << 10;

cudaError_t CheckConfiguration(const cudaLaunchConfig_t& config) {
  const dim3& grid = config.gridDim;
  const dim3& block = config.blockDim;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMaxThreadsPerBlock || block.z > 64) return cudaErrorInvalidConfiguration;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaErrorInvalidConfiguration;
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) return cudaErrorInvalidConfiguration;
  if (config.dynamicSmemBytes > kMaxDynamicSharedBytes) return cudaErrorInvalidValue;
  if (config.numAttrs != 0) return cudaErrorNotSupported;  // clusters and the like have no counterpart here
  return cudaSuccess;
}

// The first pointer that a kernel of the device may not follow; -1 for none. Needs the mutex.
int UnreadableArgument(const Runtime& runtime, int device, std::span<const void* const> pointers) {
  for (size_t i = 0; i < pointers.size(); ++i) {
    if (pointers[i] == nullptr) continue;
    const MemoryPlace place = runtime.memory.Find(pointers[i]);
    const bool readable =
        place.kind == MemoryKind::kPinned || (place.kind == MemoryKind::kDevice && place.device == device);
    if (!readable) return static_cast<int>(i);
  }
  return -1;
}

// What the stream does when the kernel's turn comes.
cudaError_t Execute(const KernelLaunch& launch) {
  Runtime& runtime = Runtime::Get();
  {
    const UnseenLock lock(runtime.mutex);
    const cudaError_t injected = runtime.faults.Count("kernel");
    if (injected != cudaSuccess) return injected;
  }
  const KernelOutcome outcome = RunKernel(launch, runtime.execution_random);
  if (outcome.error != cudaSuccess) {
    const UnseenLock lock(runtime.mutex);
    std::fprintf(stderr, "cuda_host: %s\n", outcome.text);
    runtime.last_kernel_fault = outcome.text;
  }
  return outcome.error;
}

cudaError_t Launch(const cudaLaunchConfig_t& config, std::function<void()> body,
                   std::span<const void* const> pointers) {
  const cudaError_t error = CheckConfiguration(config);
  if (error != cudaSuccess) return error;
  KernelLaunch launch{config.gridDim, config.blockDim, config.dynamicSmemBytes, std::move(body), -1};
  {
    Runtime& runtime = Runtime::Get();
    const UnseenLock lock(runtime.mutex);
    cudaStream_t stream = FindStream(runtime, config.stream);
    // Unlike a copy, a kernel can only be launched into a stream of the current device.
    if (stream == nullptr || stream->device != ThisThread().device) return cudaErrorInvalidResourceHandle;
    launch.unreadable_argument = UnreadableArgument(runtime, stream->device, pointers);
  }
  const OperationRef operation =
      Enqueue(config.stream, [launch = std::move(launch)] { return Execute(launch); });
  return operation ? cudaSuccess : cudaErrorInvalidResourceHandle;
}

}  // namespace

cudaError_t EnqueueKernel(const cudaLaunchConfig_t* config, std::function<void()> body,
                          std::span<const void* const> pointers) {
  return Call("cudaLaunchKernelEx", [&] { return Launch(*config, std::move(body), pointers); });
}

}  // namespace kldiv::cuda_host
