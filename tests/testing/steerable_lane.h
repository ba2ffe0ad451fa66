#ifndef KLDIV_TESTS_TESTING_STEERABLE_LANE_H_
#define KLDIV_TESTS_TESTING_STEERABLE_LANE_H_

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/base/mutex.h"
#include "server/lanes/lane.h"

namespace kldiv::testing {

// Lanes that a test holds, lets go, makes fail and asks what they were given. They evaluate like a CPU lane.
//
// Thread-safe. Outlives its lanes. Waits end with false after a generous while, so that a test fails instead
// of hanging.
class LaneControl {
 public:
  LaneControl() = default;
  LaneControl(const LaneControl&) = delete;
  LaneControl& operator=(const LaneControl&) = delete;

  std::unique_ptr<server::Lane> MakeLane();
  std::vector<std::unique_ptr<server::Lane>> MakeLanes(int count);

  // From now on a lane stops when it is given a batch, before it evaluates.
  void Hold();
  // Lets one of the lanes that are held go on; the next batch is held again.
  void ReleaseOne();
  // Lets all go on and holds no more.
  void Release();

  // Are `lanes` lanes held at the same time, now or soon?
  bool WaitUntilHeld(int lanes = 1);

  // The batches that begin from now on end with this.
  void SetStatus(absl::Status status);

  // All lanes are out of service from now on; what they are given still ends as SetStatus says. The batcher
  // learns of it when a batch ends.
  void LoseDevice();

  // All batches so far, in the order in which lanes were given them.
  std::vector<std::vector<server::Piece>> batches() const;

 private:
  class SteerableLane;

  // What a lane does about a batch, beside evaluating it.
  absl::Status Pass(std::span<const server::Piece> pieces);

  mutable server::Mutex mu_;
  server::CondVar changed_;
  bool holding_ KLDIV_GUARDED_BY(mu_) = false;
  int held_ KLDIV_GUARDED_BY(mu_) = 0;
  int passes_ KLDIV_GUARDED_BY(mu_) = 0;  // how many of those that are held may go on
  absl::StatusCode code_ KLDIV_GUARDED_BY(mu_) = absl::StatusCode::kOk;
  std::string message_ KLDIV_GUARDED_BY(mu_);
  std::atomic<bool> lost_ = false;
  std::vector<std::vector<server::Piece>> batches_ KLDIV_GUARDED_BY(mu_);
};

}  // namespace kldiv::testing

#endif  // KLDIV_TESTS_TESTING_STEERABLE_LANE_H_
