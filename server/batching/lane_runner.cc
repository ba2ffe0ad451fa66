#include "server/batching/lane_runner.h"

#include <pthread.h>

#include <algorithm>
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
    : batcher_(batcher), options_(options), lanes_(std::move(lanes)), metrics_(lanes_.size()) {
  batcher_.AddLanes(options_.kind, static_cast<int>(lanes_.size()));
  threads_.reserve(lanes_.size());
  for (size_t i = 0; i < lanes_.size(); ++i) threads_.emplace_back([this, i] { RunLane(i); });
}

void LaneRunner::RunLane(size_t index) {
  Lane& lane = *lanes_[index];
  LaneMetrics& metrics = metrics_[index];
  NameThisThread(options_.kind, index);
  const BatchQueue::Demand demand{options_.kind, options_.max_batch_bytes, static_cast<int>(lanes_.size()),
                                  options_.min_elements};
  Batch batch;
  while (batcher_.NextBatch(demand, batch, &lane)) {
    metrics.BatchBegins(batch, options_.max_batch_bytes);
    const absl::Status status = lane.Run(batch.pieces);
    if (status.ok()) metrics.BatchEnded(options_.kind, Clock::now() - batch.started_at, lane.times());
    batcher_.Complete(batch, status);
  }
  if (lane.InService() || !batcher_.RemoveLostLane(options_.kind)) return;
  if (options_.on_no_lane_left != nullptr) options_.on_no_lane_left();
  batcher_.FailUntilClosed(options_.kind);
}

std::vector<LaneCounts> LaneRunner::counts() const {
  std::vector<LaneCounts> counts;
  for (size_t i = 0; i < lanes_.size(); ++i) {
    const std::string device(lanes_[i]->device());
    auto of_device = std::find_if(counts.begin(), counts.end(),
                                  [&device](const LaneCounts& some) { return some.device == device; });
    if (of_device == counts.end()) {
      counts.emplace_back();
      of_device = counts.end() - 1;
      of_device->kind = options_.kind;
      of_device->device = device;
    }
    metrics_[i].AddTo(*of_device);
  }
  return counts;
}

LaneRunner::~LaneRunner() {
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace kldiv::server
