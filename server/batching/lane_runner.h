#ifndef KLDIV_SERVER_BATCHING_LANE_RUNNER_H_
#define KLDIV_SERVER_BATCHING_LANE_RUNNER_H_

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "server/batching/batcher.h"
#include "server/lanes/lane.h"

namespace kldiv::server {

// Threads that pull batches for lanes of one kind, a thread to a lane.
//
// Ends when its batcher has been closed and is empty; the destructor waits for that. The batcher outlives it.
class LaneRunner {
 public:
  // Starts a thread for each lane. Batches hold at most `max_batch_bytes`.
  LaneRunner(Batcher& batcher, LaneKind kind, std::vector<std::unique_ptr<Lane>> lanes,
             int64_t max_batch_bytes);
  ~LaneRunner();

  LaneRunner(const LaneRunner&) = delete;
  LaneRunner& operator=(const LaneRunner&) = delete;

 private:
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<std::thread> threads_;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_BATCHING_LANE_RUNNER_H_
