#ifndef KLDIV_TESTS_CUDA_HOST_TEST_KERNELS_H_
#define KLDIV_TESTS_CUDA_HOST_TEST_KERNELS_H_

#include <cuda_runtime_api.h>

// Small kernels for the executor's tests, good ones and faulty ones. Each function launches one and returns
// what cudaLaunchKernelEx returned.
namespace kldiv::cuda_host::testing {

// blocks * threads threads try every warp operation; *right counts those that saw what they should.
cudaError_t LaunchWarpOperations(cudaStream_t stream, int* right, unsigned blocks, unsigned threads);

// out[i] = threads - 1 - i, by way of dynamic shared memory.
cudaError_t LaunchReverse(cudaStream_t stream, int* out, unsigned threads);

// out[i] = the linear number of thread i of a grid of 2 x 3 x 2 blocks with 4 x 2 x 3 threads.
cudaError_t LaunchNumbering(cudaStream_t stream, int* out);

// out[i] = in[i] + 1.
cudaError_t LaunchIncrement(cudaStream_t stream, int* out, const int* in, int count);

// *out = value.
cudaError_t LaunchStore(cudaStream_t stream, int* out, int value);

// out[0] = fma(a, a, -c), out[1] = a * a - c with two roundings, out[2] = -a by its bits.
cudaError_t LaunchRoundings(cudaStream_t stream, double* out, double a, double c);

enum class Bug {
  kNone,
  kBarrierMissing,       // a neighbour's shared value is read without a barrier
  kBarrierInOneWarp,     // the others wait for nobody
  kEarlyExit,            // half of the threads end before the barrier
  kMixedWarpOperations,  // half of the lanes vote, the others synchronize
  kForeignMask,          // a lane calls with a mask that it is not in
  kHalfWarpShuffle,      // half of the lanes come to a shuffle of all
  kBlocksShareCell,      // two blocks write the same element
  kPastTheEnd,           // out[count] is written
  kSharedPastTheEnd,     // one element past a shared array is written
  kMisaligned,           // a 16-byte load at 4 bytes past a multiple of 16
};

// out[i] = i + 1 modulo count: the neighbour's number, by way of shared memory; 2 blocks of 64 threads, so
// count is 128. With a bug, something else, or a fault.
cudaError_t LaunchNeighbours(cudaStream_t stream, int* out, Bug bug);

}  // namespace kldiv::cuda_host::testing

#endif  // KLDIV_TESTS_CUDA_HOST_TEST_KERNELS_H_
