// Stands in for server/lanes/cpu_lane.cc in the program slow_server, which is otherwise kldiv-server: a
// device that takes kBatchTime for a batch of any size.

#include <algorithm>
#include <chrono>
#include <thread>

#include "server/lanes/cpu_lane.h"
#include "server/lanes/evaluate.h"
#include "server/numerics/float_control.h"

namespace kldiv::server {
namespace {

constexpr std::chrono::milliseconds kBatchTime{5};

class SlowLane final : public Lane {
 public:
  absl::Status Run(std::span<const Piece> pieces) override {
    const auto end = std::chrono::steady_clock::now() + kBatchTime;
    numerics::ResetFloatControl();
    for (const Piece& piece : pieces) EvaluatePiece(piece);
    std::this_thread::sleep_until(end);
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<Lane> MakeCpuLane() { return std::make_unique<SlowLane>(); }

}  // namespace kldiv::server
