#include "server/lanes/cpu_lane.h"

#include <memory>
#include <span>

#include "absl/status/status.h"
#include "server/lanes/evaluate.h"
#include "server/numerics/float_control.h"

namespace kldiv::server {
namespace {

class CpuLane final : public Lane {
 public:
  absl::Status Run(std::span<const Piece> pieces) override {
    numerics::ResetFloatControl();
    for (const Piece& piece : pieces) EvaluatePiece(piece);
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<Lane> MakeCpuLane() { return std::make_unique<CpuLane>(); }

}  // namespace kldiv::server
