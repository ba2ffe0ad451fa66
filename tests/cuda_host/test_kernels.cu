#include <cuda_runtime.h>

#include "tests/cuda_host/test_kernels.h"

#ifdef __CUDACC__
#define KLDIV_SHARED(type, name, count) __shared__ type name[count]
#define KLDIV_DYNAMIC_SHARED(type, name) extern __shared__ type name[]
#endif

namespace kldiv::cuda_host::testing {
namespace {

constexpr unsigned kAll = 0xffffffffu;
constexpr int kNeighbourThreads = 64;

__global__ void WarpOperations(int* right) {
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread & 31;
  bool ok = __shfl_xor_sync(kAll, lane, 1) == (lane ^ 1);
  ok &= __shfl_down_sync(kAll, lane, 3) == (lane + 3 < 32 ? lane + 3 : lane);
  ok &= __shfl_up_sync(kAll, lane, 2, 8) == ((lane & 7) >= 2 ? lane - 2 : lane);
  ok &= __shfl_sync(kAll, lane, 5, 16) == (lane < 16 ? 5 : 21);
  ok &= __ballot_sync(kAll, lane % 3 == 0) == 0x49249249u;
  ok &= __any_sync(kAll, lane == 7) != 0 && __all_sync(kAll, lane == 7) == 0;
  if (lane < 16) {
    ok &= __shfl_xor_sync(0xffffu, lane, 8) == (lane ^ 8);
  } else {
    ok &= __shfl_xor_sync(0xffff0000u, lane, 4) == (lane ^ 4);
  }
  __syncwarp();
  ok &= __syncthreads_count(lane == 0) == static_cast<int>(blockDim.x) / 32;
  ok &= __syncthreads_or(thread == 3) == 1 && __syncthreads_and(thread == 3) == 0;
  atomicAdd(right, ok ? 1 : 0);
}

__global__ void Reverse(int* out) {
  KLDIV_DYNAMIC_SHARED(int, values);
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}

__global__ void Numbering(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned number = block * (blockDim.x * blockDim.y * blockDim.z) + thread;
  out[number] = static_cast<int>(number);
}

__global__ void Increment(int* out, const int* in, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) out[i] = in[i] + 1;
}

__global__ void Store(int* out, int value) { *out = value; }

__device__ __noinline__ double NegatedBits(double a) {
  return __longlong_as_double(__double_as_longlong(a) ^ __double_as_longlong(-0.0));
}

__global__ void Roundings(double* out, double a, double c) {
  out[0] = __fma_rn(a, a, -c);
  out[1] = __dsub_rn(__dmul_rn(a, a), c);
  out[2] = NegatedBits(a);
}

__global__ void Neighbours(int* out, Bug bug) {
  const int thread = static_cast<int>(threadIdx.x);
  const int first = static_cast<int>(blockIdx.x) * kNeighbourThreads;
  KLDIV_SHARED(int, numbers, kNeighbourThreads);
  if (bug == Bug::kMisaligned) out[thread] = reinterpret_cast<const int4*>(out + 1)->x;
  if (bug == Bug::kEarlyExit && thread >= kNeighbourThreads / 2) return;
  if (bug == Bug::kBlocksShareCell && thread == 0) out[0] = first;
  numbers[bug == Bug::kSharedPastTheEnd ? thread + 1 : thread] = first + thread;
  if (bug == Bug::kMixedWarpOperations && (thread & 1) != 0) __syncwarp();
  if (bug == Bug::kMixedWarpOperations && (thread & 1) == 0) __ballot_sync(kAll, 1);
  if (bug == Bug::kForeignMask) __shfl_sync(1u << ((thread + 1) & 31), thread, 0);
  if (bug == Bug::kHalfWarpShuffle && (thread & 31) < 16) __shfl_xor_sync(kAll, thread, 16);
  if (bug != Bug::kBarrierMissing && (bug != Bug::kBarrierInOneWarp || thread < 32)) __syncthreads();
  const int next = (thread + 1) % kNeighbourThreads;
  const int at = bug == Bug::kPastTheEnd ? first + thread + 1 : first + thread;
  out[at] = numbers[next] + (next == 0 ? kNeighbourThreads * (first == 0 ? 1 : -1) : 0);
}

template <class Kernel, class... Arguments>
cudaError_t Launch(cudaStream_t stream, dim3 grid, dim3 block, size_t shared_bytes, Kernel kernel,
                   Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace

cudaError_t LaunchWarpOperations(cudaStream_t stream, int* right, unsigned blocks, unsigned threads) {
  return Launch(stream, dim3(blocks), dim3(threads), 0, WarpOperations, right);
}

cudaError_t LaunchReverse(cudaStream_t stream, int* out, unsigned threads) {
  return Launch(stream, dim3(1), dim3(threads), threads * sizeof(int), Reverse, out);
}

cudaError_t LaunchNumbering(cudaStream_t stream, int* out) {
  return Launch(stream, dim3(2, 3, 2), dim3(4, 2, 3), 0, Numbering, out);
}

cudaError_t LaunchIncrement(cudaStream_t stream, int* out, const int* in, int count) {
  return Launch(stream, dim3((static_cast<unsigned>(count) + 63) / 64), dim3(64), 0, Increment, out, in,
                count);
}

cudaError_t LaunchStore(cudaStream_t stream, int* out, int value) {
  return Launch(stream, dim3(1), dim3(1), 0, Store, out, value);
}

cudaError_t LaunchRoundings(cudaStream_t stream, double* out, double a, double c) {
  return Launch(stream, dim3(1), dim3(1), 0, Roundings, out, a, c);
}

cudaError_t LaunchNeighbours(cudaStream_t stream, int* out, Bug bug) {
  return Launch(stream, dim3(2), dim3(kNeighbourThreads), 0, Neighbours, out, bug);
}

}  // namespace kldiv::cuda_host::testing
