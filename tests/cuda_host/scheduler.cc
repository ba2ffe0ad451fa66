// Which operation is executed when: the streams' order and nothing more, by a worker or by whoever waits.

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "tests/cuda_host/runtime.h"

namespace kldiv::cuda_host {
namespace {

double NowMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

bool IsReady(const Stream& stream) {
  if (stream.pending.empty()) return false;
  const auto& after = stream.pending.front()->after;
  return std::all_of(after.begin(), after.end(), [](const OperationRef& other) { return other->done; });
}

// One of the streams that have an operation to execute, at random; null when there is none. Needs mutex.
cudaStream_t PickReadyStream(Runtime& runtime) {
  if (runtime.held) return nullptr;
  std::vector<cudaStream_t> ready;
  for (cudaStream_t stream : runtime.streams) {
    if (IsReady(*stream)) ready.push_back(stream);
  }
  return ready.empty() ? nullptr : ready[runtime.random.Below(ready.size())];
}

// Executes the operation as the stream would, for ThreadSanitizer a thread of its own. On a device with a
// lost context nothing is executed, and nobody waits.
cudaError_t ExecuteOn(Stream& stream, Operation& operation, bool healthy) {
  void* caller = TsanThread::Current();
  TsanThread::SwitchTo(stream.tsan.fiber());
  operation.enqueued.Acquire();
  for (const OperationRef& other : operation.after) other->finished.Acquire();
  const cudaError_t error = healthy && operation.execute ? operation.execute() : cudaSuccess;
  operation.finished.Release();
  TsanThread::SwitchTo(caller);
  return error;
}

// Needs mutex.
void Finish(Runtime& runtime, cudaStream_t stream, Operation& operation, cudaError_t error) {
  if (error != cudaSuccess && runtime.sticky[operation.device] == cudaSuccess) {
    runtime.sticky[operation.device] = error;
  }
  operation.done = true;
  operation.done_at_ms = NowMs();
  operation.execute = nullptr;
  operation.after.clear();
  stream->pending.pop_front();
  if (stream->destroyed && stream->pending.empty()) {
    RemoveStream(runtime, stream);
  }
  runtime.changed.NotifyAll();
}

// Executes one operation of any stream; false when none is ready.
bool RunOne() {
  Runtime& runtime = Runtime::Get();
  runtime.execution.Lock();
  cudaStream_t stream = nullptr;
  OperationRef operation;
  bool healthy = false;
  {
    const UnseenLock lock(runtime.mutex);
    stream = PickReadyStream(runtime);
    if (stream != nullptr) {
      operation = stream->pending.front();
      healthy = runtime.sticky[operation->device] == cudaSuccess;
      runtime.memory.SetAccessible(true);
    }
  }
  if (stream != nullptr) {
    const cudaError_t error = ExecuteOn(*stream, *operation, healthy);
    const UnseenLock lock(runtime.mutex);
    runtime.memory.SetAccessible(false);
    Finish(runtime, stream, *operation, error);
  }
  runtime.execution.Unlock();
  return stream != nullptr;
}

// Executes what is ready, unless the mode is lazy; now and then a little late, so that the host overtakes.
[[noreturn]] void* Work(void*) {
  Runtime& runtime = Runtime::Get();
  while (true) {
    uint64_t delay = 0;
    {
      const UnseenLock lock(runtime.mutex);
      while (runtime.lazy || PickReadyStream(runtime) == nullptr) runtime.changed.Wait(runtime.mutex);
      delay = runtime.random.Below(8);
    }
    constexpr uint64_t kStepMicroseconds = 50;
    if (delay < 2) usleep(static_cast<useconds_t>(delay * kStepMicroseconds));
    RunOne();
  }
}

void StartWorker(Runtime& runtime) {
  {
    const UnseenLock lock(runtime.mutex);
    if (runtime.worker_started) return;
    runtime.worker_started = true;
  }
  pthread_t thread{};
  if (pthread_create(
          &thread, nullptr, [](void*) -> void* { Work(nullptr); }, nullptr) != 0)
    std::abort();
  pthread_detach(thread);
}

}  // namespace

cudaStream_t FindStream(Runtime& runtime, cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread) {
    return runtime.null_streams[ThisThread().device];
  }
  const auto at = std::find(runtime.streams.begin(), runtime.streams.end(), handle);
  return at != runtime.streams.end() && !handle->destroyed ? handle : nullptr;
}

void RemoveStream(Runtime& runtime, cudaStream_t stream) {
  if (stream->last) runtime.departed.push_back(stream->last);
  std::erase(runtime.streams, stream);
  delete stream;
}

OperationRef Enqueue(cudaStream_t handle, std::function<cudaError_t()> execute,
                     const OperationRef& also_after) {
  Runtime& runtime = Runtime::Get();
  StartWorker(runtime);
  OperationRef operation = OperationRef::Make();
  operation->enqueued.Release();
  const UnseenLock lock(runtime.mutex);
  cudaStream_t stream = FindStream(runtime, handle);
  if (stream == nullptr) return {};
  operation->device = stream->device;
  operation->execute = std::move(execute);
  const auto run_after = [&](const OperationRef& other) {
    if (other) operation->after.push_back(other);
  };
  run_after(stream->last);
  run_after(also_after);
  cudaStream_t null_stream = runtime.null_streams[stream->device];
  if (stream == null_stream) {
    for (cudaStream_t other : runtime.streams) {
      if (other->blocking && other->device == stream->device && other != stream) run_after(other->last);
    }
  } else if (stream->blocking) {
    run_after(null_stream->last);
  }
  stream->last = operation;
  stream->pending.push_back(operation);
  runtime.changed.NotifyAll();
  return operation;
}

cudaError_t Wait(const OperationRef& operation) {
  if (!operation) return cudaSuccess;
  Runtime& runtime = Runtime::Get();
  cudaError_t error = cudaSuccess;
  while (true) {
    {
      const UnseenLock lock(runtime.mutex);
      while (!operation->done && (!runtime.lazy || runtime.held)) runtime.changed.Wait(runtime.mutex);
      error = runtime.sticky[operation->device];
      if (operation->done) break;
    }
    RunOne();
  }
  operation->finished.Acquire();
  return error;
}

cudaError_t Query(const OperationRef& operation) {
  if (!operation) return cudaSuccess;
  Runtime& runtime = Runtime::Get();
  bool lazy = false;
  {
    const UnseenLock lock(runtime.mutex);
    lazy = runtime.lazy;
  }
  if (lazy) RunOne();
  cudaError_t error = cudaSuccess;
  {
    const UnseenLock lock(runtime.mutex);
    if (!operation->done) return cudaErrorNotReady;
    error = runtime.sticky[operation->device];
  }
  operation->finished.Acquire();
  return error;
}

cudaError_t WaitForDevice(int device) {
  Runtime& runtime = Runtime::Get();
  std::vector<OperationRef> all;
  {
    const UnseenLock lock(runtime.mutex);
    for (const OperationRef& operation : runtime.departed) {
      if (operation->device == device) all.push_back(operation);
    }
    for (cudaStream_t stream : runtime.streams) {
      if (stream->device == device && stream->last) all.push_back(stream->last);
    }
  }
  for (const OperationRef& operation : all) Wait(operation);
  const UnseenLock lock(runtime.mutex);
  return runtime.sticky[device];
}

}  // namespace kldiv::cuda_host
