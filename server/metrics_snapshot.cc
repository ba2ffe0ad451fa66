#include "server/metrics_snapshot.h"

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

#include "server/base/version.h"
#include "server/lanes/cpu_kernel.h"
#include "server/memory.h"

namespace kldiv::server {
namespace {

// Collects the numbers; a counter's name ends in _total.
class Snapshot {
 public:
  void Counter(std::string name, std::string help, int64_t value) {
    Add(std::move(name), std::move(help), Metric::Type::kCounter, value);
  }
  void Counter(std::string name, std::string help, const std::atomic<int64_t>& value) {
    Counter(std::move(name), std::move(help), value.load(std::memory_order_relaxed));
  }
  void Gauge(std::string name, std::string help, int64_t value) {
    Add(std::move(name), std::move(help), Metric::Type::kGauge, value);
  }
  Metric& last() { return metrics_.back(); }
  std::vector<Metric> Take() { return std::move(metrics_); }

 private:
  void Add(std::string name, std::string help, Metric::Type type, int64_t value) {
    metrics_.push_back({std::move(name), std::move(help), type, {}, static_cast<double>(value)});
  }

  std::vector<Metric> metrics_;
};

void AddCalls(const ServiceCounters& counters, Snapshot& out) {
  const int64_t ended =
      counters.calls_ended.load();  // Read first, so that no call seems to end before it began.
  const int64_t started = counters.calls_started.load();
  out.Counter("kldiv_calls_started_total", "Calls of kldiv.v1 that were let in.", started);
  out.Counter("kldiv_calls_ended_total", "Of these, calls that have ended.", ended);
  out.Gauge("kldiv_calls_in_flight", "Calls that were let in and have not ended.", started - ended);
  out.Counter("kldiv_calls_shed_total", "Calls refused for want of room in the queue.", counters.shed_calls);
  out.Counter("kldiv_calls_refused_total", "Calls refused because the server was draining.",
              counters.refused_calls);
  out.Counter("kldiv_read_timeouts_total", "Messages that were not complete within --read_timeout.",
              counters.read_timeouts);
  out.Counter("kldiv_messages_lost_total", "Calls that ended without a complete message.",
              counters.lost_messages);
  out.Counter("kldiv_idle_streams_total", "Idle streams that were ended so that others could be read.",
              counters.idle_streams);
  out.Counter("kldiv_received_bytes_total", "Bytes of received messages.", counters.message_bytes);
}

void AddPairs(const ServiceCounters& counters, Snapshot& out) {
  out.Counter("kldiv_pairs_admitted_total", "Pairs that were valid and admitted.", counters.admitted_pairs);
  out.Counter("kldiv_pairs_completed_total", "Admitted pairs that have an outcome.",
              counters.completed_pairs);
  out.Counter("kldiv_pairs_invalid_total", "Pairs and messages that were refused as invalid.",
              counters.invalid_pairs);
  out.Counter("kldiv_pairs_expired_total", "Pairs that were not computed because their deadline had passed.",
              counters.expired_pairs);
  out.Counter("kldiv_pairs_cancelled_total", "Pairs that were not computed because they were cancelled.",
              counters.cancelled_pairs);
}

void AddQueue(const Batcher::Counters& batcher, const Admission& admission, Snapshot& out) {
  out.Gauge("kldiv_queue_bytes", "Bytes held by accepted and unanswered work.", admission.held_bytes());
  out.Gauge("kldiv_queue_limit_bytes", "The most that these may be: --max_queue_bytes.",
            admission.max_bytes());
  out.Gauge("kldiv_waiting_pairs", "Pairs that no lane has taken yet.", batcher.waiting_pairs);
  out.Gauge("kldiv_waiting_bytes", "Bytes of their tensors.", batcher.waiting_bytes);
  for (const bool cuda : {false, true}) {
    out.Gauge("kldiv_lanes", "Lanes in service.", cuda ? batcher.cuda_lanes : batcher.cpu_lanes);
    out.last().labels = {{"lane", cuda ? "cuda" : "cpu"}};
  }
  for (const bool cuda : {false, true}) {
    out.Counter("kldiv_batches_total", "Batches that lanes have taken.",
                cuda ? batcher.cuda_batches : batcher.batches - batcher.cuda_batches);
    out.last().labels = {{"lane", cuda ? "cuda" : "cpu"}};
  }
  out.Counter("kldiv_batches_failed_total", "Batches that failed on a device.", batcher.failed_batches);
  out.Counter("kldiv_batches_retried_total", "Of these, batches that CPU lanes evaluated instead.",
              batcher.retried_batches);
  out.Counter("kldiv_lane_pairs_total", "Pairs that went through the lanes, with any outcome.",
              batcher.completed_pairs);
}

}  // namespace

std::vector<Metric> MetricsSnapshot(const EvaluationService& service, const Batcher& batcher,
                                    const Admission& admission, const Listener& listener) {
  Snapshot out;
  AddCalls(service.counters(), out);
  AddPairs(service.counters(), out);
  AddQueue(batcher.counters(), admission, out);
  const ReadGrants::Usage grants = service.read_grants();
  out.Gauge("kldiv_read_grants", "Messages of the largest size that may be read at a time.", grants.total);
  out.Gauge("kldiv_read_grants_held", "Of these, in use.", grants.held);
  out.Gauge("kldiv_read_grants_parked", "Calls that wait for one.", grants.parked);
  const Listener::Counters connections = listener.counters();
  out.Counter("kldiv_connections_accepted_total", "Connections accepted.", connections.accepted);
  out.Counter("kldiv_connections_refused_total",
              "Connections closed at once: --max_connections were open and none gave way.",
              connections.refused);
  out.Counter("kldiv_connections_evicted_total",
              "Connections ended so that another client could connect: --max_connections were open.",
              connections.evicted);
  out.Counter("kldiv_accept_errors_total", "Failed accepts, for want of descriptors or memory.",
              connections.accept_errors);
  out.Gauge("kldiv_resident_bytes", "Physical memory of the process.", ResidentBytes());
  out.Gauge("kldiv_build_info", "1, with the build's facts as labels.", 1);
  out.last().labels = {{"version", base::kVersion}, {"instruction_set", cpu_kernel::InstructionSet()}};
  return out.Take();
}

}  // namespace kldiv::server
