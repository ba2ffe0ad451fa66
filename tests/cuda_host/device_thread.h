#ifndef KLDIV_TESTS_CUDA_HOST_DEVICE_THREAD_H_
#define KLDIV_TESTS_CUDA_HOST_DEVICE_THREAD_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace kldiv::cuda_host {

// What a CUDA thread can ask of the block that executes it. The built-ins of device code stand on these;
// `line` is the caller's, for messages. A misuse ends the kernel with a fault and does not return.

struct ThreadPosition {
  uint3 thread;
  uint3 block;
  dim3 block_dim;
  dim3 grid_dim;
  int lane;
  int warp;
};

// The calling CUDA thread's position. It never changes for a given thread, so the compiler may keep it.
__attribute__((const)) const ThreadPosition* Self();

enum class WarpOperation : uint8_t { kShuffle, kBallot, kSync };

// Waits for all lanes of `mask` that have not ended, which must all come with the same mask and operation.
// kShuffle returns what `source_lane` came with; kBallot the bits of `value`, one a lane. As on the device,
// neither orders memory; kSync does.
uint64_t MeetWarp(unsigned mask, WarpOperation operation, uint64_t value, int source_lane, int line);

// Waits for all threads of the block; returns for how many of them `predicate` was not 0. Orders memory.
int MeetBlock(int predicate, int line);

// The block's shared array of that declaration, aligned to 64 bytes: fresh for each block and filled with
// 0xff, on the heap, so that AddressSanitizer sees its ends.
void* SharedMemory(const void* declaration, size_t bytes);
void* DynamicSharedMemory();

// Ends the kernel with a sticky error, and does not return. It is not declared so, because before such a call
// AddressSanitizer looks for the end of the thread's stack, which is not where a fiber runs.
void Fault(cudaError_t error, const char* what, int line);

}  // namespace kldiv::cuda_host

#endif  // KLDIV_TESTS_CUDA_HOST_DEVICE_THREAD_H_
