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

void RunLane(Batcher& batcher, Lane& lane, const BatchQueue::Demand& demand) {
  Batch batch;
  while (batcher.NextBatch(demand, batch)) batcher.Complete(batch, lane.Run(batch.pieces));
}

}  // namespace

LaneRunner::LaneRunner(Batcher& batcher, LaneKind kind, std::vector<std::unique_ptr<Lane>> lanes,
                       int64_t max_batch_bytes)
    : lanes_(std::move(lanes)) {
  const BatchQueue::Demand demand{kind, max_batch_bytes, static_cast<int>(lanes_.size())};
  threads_.reserve(lanes_.size());
  for (size_t i = 0; i < lanes_.size(); ++i) {
    threads_.emplace_back([&batcher, &lane = *lanes_[i], demand, i] {
      NameThisThread(demand.kind, i);
      RunLane(batcher, lane, demand);
    });
  }
}

LaneRunner::~LaneRunner() {
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace kldiv::server
