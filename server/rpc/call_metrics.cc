#include "server/rpc/call_metrics.h"

namespace kldiv::server {

CallMetrics::Shard::~Shard() {
  for (const auto& histograms : ended_) delete histograms.load(std::memory_order_relaxed);
}

CallMetrics::Shard::Histograms& CallMetrics::Shard::HistogramsOf(Method method, absl::StatusCode code) {
  std::atomic<Histograms*>& slot =
      ended_[static_cast<size_t>(method) * kCodes + static_cast<size_t>(code) % kCodes];
  Histograms* known = slot.load(std::memory_order_acquire);
  if (known != nullptr) return *known;
  auto made = std::make_unique<Histograms>();
  if (slot.compare_exchange_strong(known, made.get(), std::memory_order_acq_rel)) return *made.release();
  return *known;
}

void CallMetrics::Shard::CallEnded(const Ended& call) {
  Histograms& histograms = HistogramsOf(call.method, call.code);
  histograms.duration.Record(call.duration.count());
  histograms.received.Record(call.received_bytes);
  histograms.sent.Record(call.sent_bytes);
}

CallMetrics::Shard& CallMetrics::NewShard() {
  MutexLock lock(mu_);
  return *shards_.emplace_back(std::make_unique<Shard>());
}

CallMetrics::Snapshot CallMetrics::snapshot() const {
  Snapshot snapshot;
  MutexLock lock(mu_);
  for (size_t i = 0; i < kMethods * Shard::kCodes; ++i) {
    Series series{
        static_cast<Method>(i / Shard::kCodes), static_cast<absl::StatusCode>(i % Shard::kCodes), {}, {}, {}};
    for (const auto& shard : shards_) {
      const Shard::Histograms* const histograms = shard->ended_[i].load(std::memory_order_acquire);
      if (histograms == nullptr) continue;
      histograms->duration.AddTo(series.duration);
      histograms->received.AddTo(series.received);
      histograms->sent.AddTo(series.sent);
    }
    if (!series.duration.buckets.empty()) snapshot.ended.push_back(std::move(series));
  }
  // Last, so that no call seems to have ended before it began.
  for (const auto& shard : shards_) {
    for (size_t i = 0; i < kMethods; ++i) {
      snapshot.started[i] += shard->started_[i].load(std::memory_order_relaxed);
    }
  }
  return snapshot;
}

}  // namespace kldiv::server
