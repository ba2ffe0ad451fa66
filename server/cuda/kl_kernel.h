#ifndef KLDIV_SERVER_CUDA_KL_KERNEL_H_
#define KLDIV_SERVER_CUDA_KL_KERNEL_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "server/cuda/tile_table.h"

// The kernel's launcher. Its results are those of numerics version 1 to the bit.
namespace kldiv::cuda {

// All of it is the device's memory.
struct KlBatch {
  const void* staging = nullptr;  // tensors, as tile_table.h lays them out
  const Tile* tiles = nullptr;    // at a multiple of 16 bytes
  uint32_t tile_count = 0;
  double* sums = nullptr;  // one for each tile; which NaN a NaN is, is undefined
  void* pointwise =
      nullptr;  // rounded losses of the tiles with kPointwise, NaN canonical; at a multiple of 32
};

// Enqueues one launch for the whole batch, whatever it is made of; none for an empty one. The table is
// trusted: check it with TileIsWithin where it is written.
//
// The calling thread's device is the stream's.
cudaError_t LaunchKlKernel(const KlBatch& batch, cudaStream_t stream);

// Whether the calling thread's device can execute the kernel: cudaErrorNoKernelImageForDevice and the like.
cudaError_t CheckKlKernel();

}  // namespace kldiv::cuda

#endif  // KLDIV_SERVER_CUDA_KL_KERNEL_H_
