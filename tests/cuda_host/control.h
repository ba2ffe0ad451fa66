#ifndef KLDIV_TESTS_CUDA_HOST_CONTROL_H_
#define KLDIV_TESTS_CUDA_HOST_CONTROL_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

// What a test can ask of the CUDA runtime that executes on the CPU. Include it in code that is linked with
// kldiv_cuda_host; it needs no CUDA header. Errors are cudaError_t as numbers.
//
// All functions are thread-safe. The environment sets the same things before the first call:
//   KLDIV_CUDA_HOST_SEED=7                  SetSeed(7)
//   KLDIV_CUDA_HOST_LAZY=1                  SetLazy(true)
//   KLDIV_CUDA_HOST_GUARD=1                 an access of the host to device memory is a segmentation fault
//   KLDIV_CUDA_HOST_DEVICES=2               SetDeviceCount(2)
//   KLDIV_CUDA_HOST_MEMORY=1048576          SetDeviceMemory(1 << 20)
//   KLDIV_CUDA_HOST_FAIL=cudaMalloc:3:2,kernel:5:700   FailCall("cudaMalloc", 3, 2), FailCall("kernel", 5,
//   700)
namespace kldiv::cuda_host {

// Seeds every random choice: which stream's operation is executed next, and the order of blocks and threads.
void SetSeed(uint64_t seed);

// Lazy: nothing is executed before the host waits, then in a random legal order. Otherwise (the default) a
// thread of the runtime's executes operations soon after they are enqueued.
void SetLazy(bool lazy);

// While held, nothing is executed, and whoever waits for the device goes on waiting. For a device that is
// busy.
void HoldExecution();
void ReleaseExecution();

// 0 makes every call fail with cudaErrorNoDevice. 1 by default.
void SetDeviceCount(int count);

// Bytes that each device has: 8 GiB by default.
void SetDeviceMemory(size_t bytes);

// The nth call of `api` from now, counted from 1, returns `error` and does nothing else, once. Calls that
// release something (cudaFree, cudaStreamDestroy, …) release it even so, as the real ones do. An error that
// is sticky in the real runtime makes the calling thread's device sticky here.
//
// `api` is the name as code writes it, "cudaLaunchKernelEx" for instance. Two more names stand for operations
// while they are executed, whose errors come later, when the host waits, and always stick: "kernel" and
// "copy".
void FailCall(const std::string& api, int64_t nth, int error);

// The same for the nth call and all after it.
void FailCallsFrom(const std::string& api, int64_t nth, int error);

// Forgets faults that have not come up yet.
void ClearFaults();

// How often each call has been made since the last ClearCallCounts, successful or not; with "kernel" and
// "copy".
std::map<std::string, int64_t> CallCounts();
void ClearCallCounts();

// What has been created and not been released, in all devices.
int64_t LiveDeviceAllocations();
int64_t LivePinnedAllocations();
int64_t LiveStreams();
int64_t LiveEvents();
int64_t LiveAllocations();  // both kinds
int64_t LiveResources();    // all of the above

// cudaMemcpyAsync calls so far with memory that is not pinned: they work, and wait.
int64_t PageableAsyncCopies();

// cudaEventSynchronize calls so far for events without cudaEventBlockingSync: the real ones keep a core busy.
int64_t SpinningWaits();

// Where and how the last kernel faulted; empty when none has.
std::string LastKernelFault();

// A healthy machine again: no sticky error, no fault to come, not held, counts at 0, the calling thread's
// last error cleared and its device 0. What is live stays live.
void Recover();

}  // namespace kldiv::cuda_host

#endif  // KLDIV_TESTS_CUDA_HOST_CONTROL_H_
