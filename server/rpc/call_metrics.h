#ifndef KLDIV_SERVER_RPC_CALL_METRICS_H_
#define KLDIV_SERVER_RPC_CALL_METRICS_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "server/base/histogram.h"
#include "server/base/mutex.h"
#include "server/rpc/method.h"

namespace kldiv::server {

// What is counted of every call after gRPC's proposal A66, by method and status: started, duration, bytes
// received and sent. What gRPC refuses before a call begins (headers too large, too many streams) is not in
// it.
//
// Thread-safe.
class CallMetrics {
 public:
  // A call that has ended.
  struct Ended {
    Method method = Method::kUnknown;
    absl::StatusCode code = absl::StatusCode::kOk;
    std::chrono::nanoseconds duration{};  // from its headers to the end of its status
    int64_t received_bytes = 0;           // of messages
    int64_t sent_bytes = 0;
  };
  struct Series {
    Method method;
    absl::StatusCode code;
    base::HistogramCounts duration;  // nanoseconds, by kDurationBounds
    base::HistogramCounts received;  // bytes, by kSizeBounds
    base::HistogramCounts sent;
  };
  struct Snapshot {
    std::array<int64_t, kMethods> started{};
    std::vector<Series> ended;  // of those methods and statuses that have occurred
  };

  // The calls of one polling thread, which so writes to memory of its own.
  class Shard {
   public:
    Shard() = default;
    ~Shard();
    Shard(const Shard&) = delete;
    Shard& operator=(const Shard&) = delete;

    void CallStarted(Method method) {
      started_[static_cast<size_t>(method)].fetch_add(1, std::memory_order_relaxed);
    }
    void CallEnded(const Ended& call);

   private:
    friend class CallMetrics;
    static constexpr size_t kCodes = 17;

    struct Histograms {
      base::Histogram duration{base::kDurationBounds};
      base::Histogram received{base::kSizeBounds};
      base::Histogram sent{base::kSizeBounds};
    };

    Histograms& HistogramsOf(Method method, absl::StatusCode code);

    std::array<std::atomic<int64_t>, kMethods> started_{};
    std::array<std::atomic<Histograms*>, kMethods * kCodes> ended_{};  // made when they are needed, owned
  };

  CallMetrics() = default;
  CallMetrics(const CallMetrics&) = delete;
  CallMetrics& operator=(const CallMetrics&) = delete;

  // Lives as long as this object.
  Shard& NewShard();

  Snapshot snapshot() const;

 private:
  mutable Mutex mu_;
  std::vector<std::unique_ptr<Shard>> shards_ KLDIV_GUARDED_BY(mu_);
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_CALL_METRICS_H_
