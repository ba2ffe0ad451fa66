#include "tests/testing/steerable_lane.h"

#include <chrono>

#include "server/lanes/cpu_lane.h"
#include "tests/testing/patience.h"

namespace kldiv::testing {

using server::MutexLock;
using server::Piece;

class LaneControl::SteerableLane final : public server::Lane {
 public:
  explicit SteerableLane(LaneControl& control) : control_(control), cpu_(server::MakeCpuLane()) {}

  absl::Status Run(std::span<const Piece> pieces) override {
    absl::Status status = control_.Pass(pieces);
    // A device that fails leaves its outputs undefined.
    return status.ok() ? cpu_->Run(pieces) : status;
  }
  bool InService() const override { return !control_.lost_.load(); }

 private:
  LaneControl& control_;
  const std::unique_ptr<server::Lane> cpu_;
};

std::unique_ptr<server::Lane> LaneControl::MakeLane() { return std::make_unique<SteerableLane>(*this); }

std::vector<std::unique_ptr<server::Lane>> LaneControl::MakeLanes(int count) {
  std::vector<std::unique_ptr<server::Lane>> lanes;
  for (int i = 0; i < count; ++i) lanes.push_back(MakeLane());
  return lanes;
}

void LaneControl::Hold() {
  MutexLock lock(mu_);
  holding_ = true;
  passes_ = 0;
}

void LaneControl::ReleaseOne() {
  MutexLock lock(mu_);
  ++passes_;
  changed_.NotifyAll();
}

void LaneControl::Release() {
  MutexLock lock(mu_);
  holding_ = false;
  changed_.NotifyAll();
}

bool LaneControl::WaitUntilHeld(int lanes) {
  const auto end = PatienceEnd();
  MutexLock lock(mu_);
  while (held_ - passes_ < lanes) {
    if (!changed_.WaitUntil(mu_, end)) return false;
  }
  return true;
}

void LaneControl::SetStatus(absl::Status status) {
  MutexLock lock(mu_);
  code_ = status.code();
  message_ = std::string(status.message());
}

void LaneControl::LoseDevice() { lost_.store(true); }

std::vector<std::vector<Piece>> LaneControl::batches() const {
  MutexLock lock(mu_);
  return batches_;
}

absl::Status LaneControl::Pass(std::span<const Piece> pieces) {
  MutexLock lock(mu_);
  batches_.emplace_back(pieces.begin(), pieces.end());
  ++held_;
  changed_.NotifyAll();
  while (holding_ && passes_ == 0) changed_.Wait(mu_);
  if (holding_) --passes_;
  --held_;
  return absl::Status(code_, message_);
}

}  // namespace kldiv::testing
