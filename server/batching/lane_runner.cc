#include "server/batching/lane_runner.h"

#include <pthread.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace kldiv::server {
namespace {

// What `top -H` and debuggers show; the system cuts names at 15 characters.
void NameThisThread(LaneKind kind, size_t index) {
  const std::string name = absl::StrCat(kind == LaneKind::kCuda ? "cuda-lane-" : "cpu-lane-", index);
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

}  // namespace

LaneRunner::LaneRunner(Batcher& batcher, const Options& options, std::vector<std::unique_ptr<Lane>> lanes)
    : batcher_(batcher), options_(options), lanes_(std::move(lanes)) {
  batcher_.AddLanes(options_.kind, static_cast<int>(lanes_.size()));
  threads_.reserve(lanes_.size());
  for (size_t i = 0; i < lanes_.size(); ++i) threads_.emplace_back([this, i] { RunLane(*lanes_[i], i); });
}

void LaneRunner::RunLane(Lane& lane, size_t index) {
  NameThisThread(options_.kind, index);
  const BatchQueue::Demand demand{options_.kind, options_.max_batch_bytes, static_cast<int>(lanes_.size()),
                                  options_.min_elements};
  Batch batch;
  while (batcher_.NextBatch(demand, batch, &lane)) batcher_.Complete(batch, lane.Run(batch.pieces));
  if (lane.InService() || !batcher_.RemoveLostLane(options_.kind)) return;
  if (options_.on_no_lane_left != nullptr) options_.on_no_lane_left();
  batcher_.FailUntilClosed(options_.kind);
}

LaneRunner::~LaneRunner() {
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace kldiv::server
