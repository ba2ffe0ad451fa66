// The CUDA runtime's functions about streams and events.

#include <algorithm>

#include "tests/cuda_host/runtime.h"

namespace kldiv::cuda_host {
namespace {

// Reads the stream's last operation; false when the handle is not a stream's.
bool LastOperation(cudaStream_t handle, OperationRef* last) {
  Runtime& runtime = Runtime::Get();
  const UnseenLock lock(runtime.mutex);
  cudaStream_t stream = FindStream(runtime, handle);
  if (stream == nullptr) return false;
  *last = stream->last;
  return true;
}

// The same for what the event last recorded.
bool Recorded(cudaEvent_t event, OperationRef* recorded) {
  Runtime& runtime = Runtime::Get();
  const UnseenLock lock(runtime.mutex);
  if (!runtime.events.contains(event)) return false;
  *recorded = event->recorded;
  return true;
}

cudaError_t CreateStream(cudaStream_t* stream, unsigned flags) {
  if (stream == nullptr || (flags & ~unsigned{cudaStreamNonBlocking}) != 0) return cudaErrorInvalidValue;
  Runtime& runtime = Runtime::Get();
  const UnseenLock lock(runtime.mutex);
  *stream = new CUstream_st(ThisThread().device, (flags & cudaStreamNonBlocking) == 0);
  runtime.streams.push_back(*stream);
  return cudaSuccess;
}

// Does not wait: what is enqueued is still executed.
cudaError_t DestroyStream(cudaStream_t handle) {
  Runtime& runtime = Runtime::Get();
  const UnseenLock lock(runtime.mutex);
  cudaStream_t stream = FindStream(runtime, handle);
  if (stream == nullptr || stream != handle) return cudaErrorInvalidResourceHandle;
  stream->destroyed = true;
  if (stream->pending.empty()) {
    RemoveStream(runtime, stream);
  }
  return cudaSuccess;
}

cudaError_t CreateEvent(cudaEvent_t* event, unsigned flags) {
  constexpr unsigned kKnown = cudaEventBlockingSync | cudaEventDisableTiming;
  if (event == nullptr || (flags & ~kKnown) != 0) return cudaErrorInvalidValue;
  Runtime& runtime = Runtime::Get();
  const UnseenLock lock(runtime.mutex);
  *event = new CUevent_st{
      {ThisThread().device, (flags & cudaEventDisableTiming) == 0, (flags & cudaEventBlockingSync) != 0, {}}};
  runtime.events.insert(*event);
  return cudaSuccess;
}

cudaError_t DestroyEvent(cudaEvent_t event) {
  Runtime& runtime = Runtime::Get();
  const UnseenLock lock(runtime.mutex);
  if (runtime.events.erase(event) == 0) return cudaErrorInvalidResourceHandle;
  delete event;
  return cudaSuccess;
}

cudaError_t RecordEvent(cudaEvent_t event, cudaStream_t handle) {
  Runtime& runtime = Runtime::Get();
  {
    const UnseenLock lock(runtime.mutex);
    cudaStream_t stream = FindStream(runtime, handle);
    if (stream == nullptr || !runtime.events.contains(event)) return cudaErrorInvalidResourceHandle;
    if (stream->device != event->device) return cudaErrorInvalidResourceHandle;
  }
  OperationRef operation = Enqueue(handle, nullptr);
  const UnseenLock lock(runtime.mutex);
  if (!operation || !runtime.events.contains(event)) return cudaErrorInvalidResourceHandle;
  event->recorded = operation;
  return cudaSuccess;
}

cudaError_t SynchronizeEvent(cudaEvent_t event) {
  OperationRef recorded;
  if (!Recorded(event, &recorded)) return cudaErrorInvalidResourceHandle;
  {
    Runtime& runtime = Runtime::Get();
    const UnseenLock lock(runtime.mutex);
    if (runtime.events.contains(event) && !event->blocking_sync) ++runtime.spinning_waits;
  }
  return Wait(recorded);
}

cudaError_t ElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  Runtime& runtime = Runtime::Get();
  const UnseenLock lock(runtime.mutex);
  for (cudaEvent_t event : {start, end}) {
    if (!runtime.events.contains(event) || !event->timing || !event->recorded) {
      return cudaErrorInvalidResourceHandle;
    }
  }
  if (!start->recorded->done || !end->recorded->done) return cudaErrorNotReady;
  *ms = static_cast<float>(end->recorded->done_at_ms - start->recorded->done_at_ms);
  return cudaSuccess;
}

}  // namespace
}  // namespace kldiv::cuda_host

using namespace kldiv::cuda_host;  // NOLINT(google-build-using-namespace): these functions are its public
                                   // face

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return Call("cudaStreamCreateWithFlags", [&] { return CreateStream(stream, flags); });
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return Call("cudaStreamCreate", [&] { return CreateStream(stream, cudaStreamDefault); });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return CallToRelease("cudaStreamDestroy", [&] { return DestroyStream(stream); });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return Call("cudaStreamSynchronize", [&] {
    OperationRef last;
    return LastOperation(stream, &last) ? Wait(last) : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return Call("cudaStreamQuery", [&] {
    OperationRef last;
    return LastOperation(stream, &last) ? Query(last) : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return Call("cudaStreamWaitEvent", [&] {
    if (flags != cudaEventWaitDefault) return cudaErrorInvalidValue;
    OperationRef recorded;
    if (!Recorded(event, &recorded)) return cudaErrorInvalidResourceHandle;
    return Enqueue(stream, nullptr, recorded) ? cudaSuccess : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* argument) {
  return Call("cudaLaunchHostFunc", [&] {
    const OperationRef operation = Enqueue(stream, [=] {
      ThisThread().in_host_function = true;
      function(argument);
      ThisThread().in_host_function = false;
      return cudaSuccess;
    });
    return operation ? cudaSuccess : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return Call("cudaEventCreateWithFlags", [&] { return CreateEvent(event, flags); });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return Call("cudaEventCreate", [&] { return CreateEvent(event, cudaEventDefault); });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return CallToRelease("cudaEventDestroy", [&] { return DestroyEvent(event); });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return Call("cudaEventRecord", [&] { return RecordEvent(event, stream); });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return Call("cudaEventSynchronize", [&] { return SynchronizeEvent(event); });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return Call("cudaEventQuery", [&] {
    OperationRef recorded;
    return Recorded(event, &recorded) ? Query(recorded) : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  return Call("cudaEventElapsedTime", [&] { return ElapsedTime(ms, start, end); });
}

}  // extern "C"
