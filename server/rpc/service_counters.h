#ifndef KLDIV_SERVER_RPC_SERVICE_COUNTERS_H_
#define KLDIV_SERVER_RPC_SERVICE_COUNTERS_H_

#include <atomic>
#include <cstdint>

#include "server/base/histogram.h"

namespace kldiv::server {

// What the service has done since it started. Calls are those of kldiv.v1 that were let in; pairs are those
// that were valid and admitted. Once nothing is under way, calls_started = calls_ended and
// admitted_pairs = completed_pairs.
struct ServiceCounters {
  std::atomic<int64_t> calls_started = 0;
  std::atomic<int64_t> calls_ended = 0;
  std::atomic<int64_t> unread_calls = 0;  // of those that are open: unary, and their message has not come
  std::atomic<int64_t> admitted_pairs = 0;
  std::atomic<int64_t> completed_pairs = 0;        // with any outcome
  std::atomic<int64_t> shed_calls = 0;             // for want of room
  std::atomic<int64_t> refused_calls = 0;          // draining
  std::atomic<int64_t> unauthenticated_calls = 0;  // without a valid token
  std::atomic<int64_t> invalid_pairs = 0;          // pairs, and messages that could not be decoded
  std::atomic<int64_t> expired_pairs = 0;          // not computed: the deadline had passed
  std::atomic<int64_t> cancelled_pairs = 0;        // not computed: cancelled
  std::atomic<int64_t> lost_messages = 0;  // calls that ended without a complete message, for whatever reason
  std::atomic<int64_t> read_timeouts = 0;  // messages that were not complete in time
  std::atomic<int64_t> idle_streams = 0;   // ended so that others could be read
  std::atomic<int64_t> message_bytes = 0;  // received

  // Nanoseconds, by kDurationBounds, of messages whose pairs were admitted.
  base::Histogram compute_on_arrival{base::kDurationBounds};  // of those small enough for no lane
  base::Histogram total{
      base::kDurationBounds};  // from the call's headers, or a stream's message, to the answer
};

// Adds to a counter. Nothing else is ordered by it.
inline void Count(std::atomic<int64_t>& counter, int64_t by = 1) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_SERVICE_COUNTERS_H_
