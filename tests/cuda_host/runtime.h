#ifndef KLDIV_TESTS_CUDA_HOST_RUNTIME_H_
#define KLDIV_TESTS_CUDA_HOST_RUNTIME_H_

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/cuda_host/faults.h"
#include "tests/cuda_host/memory_table.h"
#include "tests/cuda_host/operation.h"
#include "tests/cuda_host/random.h"
#include "tests/cuda_host/unseen_mutex.h"

namespace kldiv::cuda_host {

constexpr int kMaxDevices = 8;

// The state behind the CUDA runtime's functions, one for the process.
struct Runtime {
  static Runtime& Get();

  UnseenMutex mutex;
  UnseenCondition changed;  // an operation was enqueued or is done, or a setting has changed

  // ---- Guarded by mutex.
  bool lazy = false;
  bool held = false;
  Random random{1};
  int device_count = 1;
  size_t device_memory = size_t{8} << 30;
  cudaError_t sticky[kMaxDevices] = {};
  Faults faults;
  MemoryTable memory;
  std::vector<cudaStream_t> streams;  // the destroyed ones too, as long as they have operations
  std::vector<OperationRef>
      departed;  // the last operations of streams that are gone: waiting for a device orders them
  std::set<cudaEvent_t> events;
  int64_t pageable_async_copies = 0;
  int64_t spinning_waits = 0;
  std::string last_kernel_fault;
  bool worker_started = false;

  // ---- Constant.
  const bool guard;
  cudaStream_t null_streams[kMaxDevices];

  // ---- Guarded by execution, which is held while an operation is executed; taken before mutex.
  UnseenMutex execution;
  Random execution_random{1};

 private:
  explicit Runtime(bool guard_device_memory);
};

// ---- Streams and operations (scheduler.cc).

// The stream behind a handle of the calling thread's device; null when there is none. Needs mutex.
cudaStream_t FindStream(Runtime& runtime, cudaStream_t handle);

// Forgets a stream without pending operations, which has been destroyed. Needs mutex.
void RemoveStream(Runtime& runtime, cudaStream_t stream);

// Appends an operation to the stream, after `also_after` too, if that is not null. Null when the stream is
// gone.
OperationRef Enqueue(cudaStream_t handle, std::function<cudaError_t()> execute,
                     const OperationRef& also_after = {});

// Waits until the operation is done, executing operations meanwhile in lazy mode. Returns its device's sticky
// error. Does not wait for null.
cudaError_t Wait(const OperationRef& operation);

// cudaErrorNotReady, or what Wait would return. In lazy mode executes one operation.
cudaError_t Query(const OperationRef& operation);

// Waits for all that the device has to do.
cudaError_t WaitForDevice(int device);

// ---- The calling thread.

struct CallingThread {
  int device = 0;
  cudaError_t last_error = cudaSuccess;
  bool in_host_function = false;  // cudaLaunchHostFunc's, which may not call the runtime
};
CallingThread& ThisThread();

// ---- What every function of the runtime begins and ends with.

// Counts the call. The error that it must return without doing anything: an injected one, no device, or the
// sticky error of the calling thread's device.
cudaError_t BeginCall(const char* api, bool needs_healthy_device = true);

// Records and returns the error.
cudaError_t EndCall(cudaError_t error);

// body() unless the call has to fail.
template <class Body>
cudaError_t Call(const char* api, Body body) {
  const cudaError_t error = BeginCall(api);
  return EndCall(error != cudaSuccess ? error : body());
}

// For what answers about a device without touching it.
template <class Body>
cudaError_t CallAboutDevice(const char* api, Body body) {
  const cudaError_t error = BeginCall(api, /*needs_healthy_device=*/false);
  return EndCall(error != cudaSuccess ? error : body());
}

// For what releases something: done even when the call fails, for there is no second attempt.
template <class Body>
cudaError_t CallToRelease(const char* api, Body body) {
  const cudaError_t error = BeginCall(api);
  if (error == cudaErrorNotPermitted) return EndCall(error);
  const cudaError_t released = body();
  return EndCall(error != cudaSuccess ? error : released);
}

}  // namespace kldiv::cuda_host

#endif  // KLDIV_TESTS_CUDA_HOST_RUNTIME_H_
