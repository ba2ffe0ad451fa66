#include "tests/cuda_host/runtime.h"

#include <cstdlib>

namespace kldiv::cuda_host {
namespace {

const char* Setting(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

bool IsOn(const char* name) {
  const char* value = Setting(name);
  return value != nullptr && std::atoi(value) != 0;
}

}  // namespace

Runtime::Runtime(bool guard_device_memory) : memory(guard_device_memory), guard(guard_device_memory) {
  lazy = IsOn("KLDIV_CUDA_HOST_LAZY");
  if (const char* value = Setting("KLDIV_CUDA_HOST_SEED")) {
    random = Random(std::strtoull(value, nullptr, 0));
    execution_random = Random(random.Next());
  }
  if (const char* value = Setting("KLDIV_CUDA_HOST_DEVICES")) device_count = std::atoi(value);
  if (device_count < 0 || device_count > kMaxDevices) device_count = kMaxDevices;
  if (const char* value = Setting("KLDIV_CUDA_HOST_MEMORY")) device_memory = std::strtoull(value, nullptr, 0);
  if (const char* value = Setting("KLDIV_CUDA_HOST_FAIL")) faults.AddFromText(value);
  for (int device = 0; device < kMaxDevices; ++device) {
    null_streams[device] = new CUstream_st(device, /*is_blocking=*/true);
    streams.push_back(null_streams[device]);
  }
}

Runtime& Runtime::Get() {
  // Never destroyed: threads may still be executing when the process ends.
  static Runtime* runtime = [] {
    const ScopedUnseen unseen;
    return new Runtime(IsOn("KLDIV_CUDA_HOST_GUARD"));
  }();
  return *runtime;
}

CallingThread& ThisThread() {
  thread_local CallingThread thread;
  return thread;
}

cudaError_t BeginCall(const char* api, bool needs_healthy_device) {
  Runtime& runtime = Runtime::Get();
  const CallingThread& thread = ThisThread();
  const UnseenLock lock(runtime.mutex);
  if (thread.in_host_function) return cudaErrorNotPermitted;
  cudaError_t& sticky = runtime.sticky[thread.device];
  const cudaError_t injected = runtime.faults.Count(api);
  if (injected != cudaSuccess) {
    if (IsSticky(injected) && sticky == cudaSuccess) sticky = injected;
    return injected;
  }
  if (runtime.device_count == 0) return cudaErrorNoDevice;
  return needs_healthy_device ? sticky : cudaSuccess;
}

cudaError_t EndCall(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) ThisThread().last_error = error;
  return error;
}

}  // namespace kldiv::cuda_host
