#ifndef KLDIV_SERVER_BATCHING_LANE_RUNNER_H_
#define KLDIV_SERVER_BATCHING_LANE_RUNNER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "server/batching/batcher.h"
#include "server/batching/lane_metrics.h"
#include "server/lanes/lane.h"

namespace kldiv::server {

// Threads that pull batches for lanes of one kind, a thread to a lane.
//
// A lane whose device is lost leaves service. The last lane of all answers, in place of evaluating,
// everything with the device's fault.
//
// Ends when its batcher has been closed and is empty; the destructor waits for that. The batcher outlives it.
class LaneRunner {
 public:
  struct Options {
    LaneKind kind = LaneKind::kCpu;
    int64_t max_batch_bytes = 0;  // at least 1
    int64_t min_elements = 0;     // see BatchQueue::Demand
    // Called once when no lane is left in service, on the last one's thread.
    std::function<void()> on_no_lane_left = nullptr;
  };

  // Starts a thread for each lane.
  LaneRunner(Batcher& batcher, const Options& options, std::vector<std::unique_ptr<Lane>> lanes);
  LaneRunner(Batcher& batcher, LaneKind kind, std::vector<std::unique_ptr<Lane>> lanes,
             int64_t max_batch_bytes)
      : LaneRunner(batcher, {.kind = kind, .max_batch_bytes = max_batch_bytes}, std::move(lanes)) {}
  ~LaneRunner();

  LaneRunner(const LaneRunner&) = delete;
  LaneRunner& operator=(const LaneRunner&) = delete;

  // What the lanes have done, by device. Any thread.
  std::vector<LaneCounts> counts() const;

 private:
  void RunLane(size_t index);

  Batcher& batcher_;
  const Options options_;
  const std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<LaneMetrics> metrics_;  // one for each
  std::vector<std::thread> threads_;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_BATCHING_LANE_RUNNER_H_
