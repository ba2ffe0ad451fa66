#ifndef KLDIV_TESTS_PTX_PTX_LANE_H_
#define KLDIV_TESTS_PTX_PTX_LANE_H_

#include <cstdint>
#include <span>

#include "server/cuda/staging.h"
#include "server/lanes/lane.h"
#include "tests/ptx/module.h"

namespace kldiv::ptx {

// What a CUDA lane does, with the PTX in the device's place.
class PtxLane : public server::Lane {
 public:
  // `module` is the kernel's and outlives the lane. `seed` is that of its first launch.
  PtxLane(const Module& module, int64_t batch_bytes, uint64_t seed = 1)
      : module_(module), sizes_(cuda::BufferSizesFor(batch_bytes)), seed_(seed) {}

  // An error is what the interpreter says of the kernel.
  absl::Status Run(std::span<const server::Piece> pieces) override;

 private:
  absl::Status Evaluate(const cuda::Round& round);

  const Module& module_;
  const cuda::BufferSizes sizes_;
  uint64_t seed_;
};

}  // namespace kldiv::ptx

#endif  // KLDIV_TESTS_PTX_PTX_LANE_H_
