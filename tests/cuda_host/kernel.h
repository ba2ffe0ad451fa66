#ifndef KLDIV_TESTS_CUDA_HOST_KERNEL_H_
#define KLDIV_TESTS_CUDA_HOST_KERNEL_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>

#include "tests/cuda_host/random.h"

namespace kldiv::cuda_host {

constexpr int kMaxThreadsPerBlock = 1024;

// A kernel with its arguments: `body` is what each CUDA thread executes.
struct KernelLaunch {
  dim3 grid;
  dim3 block;
  size_t dynamic_shared_bytes = 0;
  std::function<void()> body;
  int unreadable_argument = -1;  // index of a pointer argument that no kernel of the device may follow
};

// How a kernel ended; the text tells where.
struct KernelOutcome {
  cudaError_t error = cudaSuccess;
  char text[256] = "";
};

// Executes all blocks of the grid in a random order, one at a time; within a block its threads as fibers,
// also in a random order, each until it waits or ends. Ends at the first fault.
//
// One kernel at a time in the process; the caller sees to that.
KernelOutcome RunKernel(const KernelLaunch& launch, Random& random);

}  // namespace kldiv::cuda_host

#endif  // KLDIV_TESTS_CUDA_HOST_KERNEL_H_
