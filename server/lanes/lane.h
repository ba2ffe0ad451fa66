#ifndef KLDIV_SERVER_LANES_LANE_H_
#define KLDIV_SERVER_LANES_LANE_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "proto/wire/pair.h"

namespace kldiv::server {

// A pair in a lane's hands: what to evaluate and where the results go.
struct LanePair {
  const wire::Pair* pair = nullptr;
  double* tile_sums = nullptr;   // one for each tile of the pair; null when pointwise is set
  uint8_t* pointwise = nullptr;  // for `none`: elements * ElementSize(formula.output()) bytes, any alignment
};

// Consecutive tiles of a pair.
struct Piece {
  const LanePair* pair = nullptr;
  int64_t first_tile = 0;
  int64_t tile_count = 0;  // at least 1
};

enum class LaneKind : uint8_t { kCpu, kCuda };

// Where the time of a run on a device went, in nanoseconds.
struct RunTimes {
  int64_t gather_ns = 0;   // bringing the tensors together in one buffer
  int64_t copy_ns = 0;     // copying to the device and back
  int64_t compute_ns = 0;  // in the kernel
};

// Something that evaluates pieces: a CPU thread, or a CUDA stream with its buffers.
//
// Belongs to one thread. Keeps nothing of the pieces after Run.
class Lane {
 public:
  virtual ~Lane() = default;

  // Evaluates all pieces and returns when their tile sums or pointwise losses are in place.
  //
  // An error is a fault of the device, whose name it carries: the outputs are then undefined and the
  // pieces may be evaluated again elsewhere.
  virtual absl::Status Run(std::span<const Piece> pieces) = 0;

  // Of the last run that succeeded; zeros of a CPU lane, which reads tensors where they lie. Its thread only.
  virtual RunTimes times() const { return {}; }

  // "cpu", or which CUDA device. Valid as long as the lane.
  virtual std::string_view device() const { return "cpu"; }

  // False for good when the device is lost: a Run would fail. From any thread.
  virtual bool InService() const { return true; }
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_LANES_LANE_H_
