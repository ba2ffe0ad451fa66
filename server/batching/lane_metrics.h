#ifndef KLDIV_SERVER_BATCHING_LANE_METRICS_H_
#define KLDIV_SERVER_BATCHING_LANE_METRICS_H_

#include <cstdint>
#include <string>

#include "server/base/histogram.h"
#include "server/batching/batch_queue.h"
#include "server/batching/task.h"
#include "server/lanes/lane.h"

namespace kldiv::server {

// Parts of a thousand: how full batches are.
inline constexpr int64_t kFillBounds[] = {10, 20, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000};
inline constexpr int64_t kPairBounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};

// What has been counted of lanes.
struct LaneCounts {
  LaneKind kind = LaneKind::kCpu;
  std::string device;  // "cpu", or which CUDA device
  base::HistogramCounts
      queue;  // nanoseconds that pairs waited, from being enqueued to the start of computing
  base::HistogramCounts gather;   // nanoseconds of batches, by kDurationBounds: bringing tensors together,
  base::HistogramCounts copy;     // copying to the device and back,
  base::HistogramCounts compute;  // and computing; a CPU lane only does the last
  base::HistogramCounts pairs;    // of batches, by kPairBounds
  base::HistogramCounts bytes;    // of batches, by kSizeBounds
  base::HistogramCounts fill;     // bytes of batches in thousandths of the largest batch, by kFillBounds
};

// Counts one lane's batches. Written by its thread, read by any.
class LaneMetrics {
 public:
  // Of a batch that is about to run; `max_bytes` bounds a batch.
  void BatchBegins(const Batch& batch, int64_t max_bytes) {
    for (size_t i = 0; i < batch.parts.size(); ++i) {
      if (batch.pieces[i].first_tile == 0) queue_.Record(batch.parts[i].pair->queue_ns);
    }
    pairs_.Record(static_cast<int64_t>(batch.parts.size()));
    bytes_.Record(batch.bytes);
    fill_.Record(batch.bytes * 1000 / max_bytes);
  }

  // Of a batch that has run for `total`, and what the lane says of it.
  void BatchEnded(LaneKind kind, Clock::duration total, const RunTimes& times) {
    if (kind == LaneKind::kCpu) return compute_.Record(total.count());
    gather_.Record(times.gather_ns);
    copy_.Record(times.copy_ns);
    compute_.Record(times.compute_ns);
  }

  // Adds the counts.
  void AddTo(LaneCounts& counts) const {
    queue_.AddTo(counts.queue);
    gather_.AddTo(counts.gather);
    copy_.AddTo(counts.copy);
    compute_.AddTo(counts.compute);
    pairs_.AddTo(counts.pairs);
    bytes_.AddTo(counts.bytes);
    fill_.AddTo(counts.fill);
  }

 private:
  base::Histogram queue_{base::kDurationBounds};
  base::Histogram gather_{base::kDurationBounds};
  base::Histogram copy_{base::kDurationBounds};
  base::Histogram compute_{base::kDurationBounds};
  base::Histogram pairs_{kPairBounds};
  base::Histogram bytes_{base::kSizeBounds};
  base::Histogram fill_{kFillBounds};
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_BATCHING_LANE_METRICS_H_
