#include "tests/cuda_host/control.h"

#include "tests/cuda_host/runtime.h"

namespace kldiv::cuda_host {
namespace {

// Calls visit(runtime) under the mutex and wakes whoever waits for a change.
template <class Visit>
auto Locked(Visit visit) {
  Runtime& runtime = Runtime::Get();
  const UnseenLock lock(runtime.mutex);
  runtime.changed.NotifyAll();
  return visit(runtime);
}

}  // namespace

void SetSeed(uint64_t seed) {
  Runtime& runtime = Runtime::Get();
  runtime.execution.Lock();
  {
    const UnseenLock lock(runtime.mutex);
    runtime.random = Random(seed);
    runtime.execution_random = Random(runtime.random.Next());
  }
  runtime.execution.Unlock();
}

void SetLazy(bool lazy) {
  Locked([&](Runtime& runtime) { runtime.lazy = lazy; });
}

void HoldExecution() {
  Locked([](Runtime& runtime) { runtime.held = true; });
}

void ReleaseExecution() {
  Locked([](Runtime& runtime) { runtime.held = false; });
}

void SetDeviceCount(int count) {
  Locked([&](Runtime& runtime) {
    runtime.device_count = count < 0 ? 0 : count > kMaxDevices ? kMaxDevices : count;
  });
}

void SetDeviceMemory(size_t bytes) {
  Locked([&](Runtime& runtime) { runtime.device_memory = bytes; });
}

void FailCall(const std::string& api, int64_t nth, int error) {
  Locked([&](Runtime& runtime) {
    runtime.faults.Add(api, nth, static_cast<cudaError_t>(error), /*repeated=*/false);
  });
}

void FailCallsFrom(const std::string& api, int64_t nth, int error) {
  Locked([&](Runtime& runtime) {
    runtime.faults.Add(api, nth, static_cast<cudaError_t>(error), /*repeated=*/true);
  });
}

void ClearFaults() {
  Locked([](Runtime& runtime) { runtime.faults.Clear(); });
}

std::map<std::string, int64_t> CallCounts() {
  return Locked([](Runtime& runtime) { return runtime.faults.counts(); });
}

void ClearCallCounts() {
  Locked([](Runtime& runtime) { runtime.faults.ClearCounts(); });
}

int64_t LiveDeviceAllocations() {
  return Locked([](Runtime& runtime) { return runtime.memory.LiveCount(MemoryKind::kDevice); });
}

int64_t LivePinnedAllocations() {
  return Locked([](Runtime& runtime) { return runtime.memory.LiveCount(MemoryKind::kPinned); });
}

int64_t LiveStreams() {
  return Locked([](Runtime& runtime) {
    int64_t count = -int64_t{kMaxDevices};  // the null streams, which nobody creates
    for (cudaStream_t stream : runtime.streams) count += stream->destroyed ? 0 : 1;
    return count;
  });
}

int64_t LiveEvents() {
  return Locked([](Runtime& runtime) { return static_cast<int64_t>(runtime.events.size()); });
}

int64_t LiveAllocations() { return LiveDeviceAllocations() + LivePinnedAllocations(); }

int64_t LiveResources() { return LiveAllocations() + LiveStreams() + LiveEvents(); }

int64_t PageableAsyncCopies() {
  return Locked([](Runtime& runtime) { return runtime.pageable_async_copies; });
}

int64_t SpinningWaits() {
  return Locked([](Runtime& runtime) { return runtime.spinning_waits; });
}

std::string LastKernelFault() {
  return Locked([](Runtime& runtime) { return runtime.last_kernel_fault; });
}

void Recover() {
  ThisThread() = CallingThread();
  Locked([](Runtime& runtime) {
    for (cudaError_t& sticky : runtime.sticky) sticky = cudaSuccess;
    runtime.faults.Clear();
    runtime.faults.ClearCounts();
    runtime.held = false;
    runtime.pageable_async_copies = 0;
    runtime.spinning_waits = 0;
    runtime.last_kernel_fault.clear();
  });
}

}  // namespace kldiv::cuda_host
