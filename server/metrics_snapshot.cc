#include "server/metrics_snapshot.h"

#include <atomic>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "server/base/histogram.h"
#include "server/base/version.h"
#include "server/build_info.h"
#include "server/lanes/cpu_kernel.h"
#include "server/process_metrics.h"

namespace kldiv::server {
namespace {

using base::HistogramCounts;
using Labels = std::vector<std::pair<std::string, std::string>>;

constexpr double kNanosecondsPerSecond = 1e9;

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
  // Of counts by `bounds`, both in units of which the metric's has `per_unit`.
  void Histogram(std::string name, std::string help, Labels labels, const HistogramCounts& counts,
                 std::span<const int64_t> bounds, double per_unit) {
    Metric metric{std::move(name),
                  std::move(help),
                  Metric::Type::kHistogram,
                  std::move(labels),
                  static_cast<double>(counts.sum) / per_unit,
                  {},
                  counts.buckets};
    for (const int64_t bound : bounds) metric.bounds.push_back(static_cast<double>(bound) / per_unit);
    metrics_.push_back(std::move(metric));
  }
  void Seconds(std::string name, std::string help, Labels labels, const HistogramCounts& counts) {
    Histogram(std::move(name), std::move(help), std::move(labels), counts, base::kDurationBounds,
              kNanosecondsPerSecond);
  }
  void Bytes(std::string name, std::string help, Labels labels, const HistogramCounts& counts) {
    Histogram(std::move(name), std::move(help), std::move(labels), counts, base::kSizeBounds, 1);
  }
  void Add(std::vector<Metric> metrics) {
    metrics_.insert(metrics_.end(), std::make_move_iterator(metrics.begin()),
                    std::make_move_iterator(metrics.end()));
  }
  Metric& last() { return metrics_.back(); }
  std::vector<Metric> Take() { return std::move(metrics_); }

 private:
  void Add(std::string name, std::string help, Metric::Type type, int64_t value) {
    metrics_.push_back({std::move(name), std::move(help), type, {}, static_cast<double>(value), {}, {}});
  }

  std::vector<Metric> metrics_;
};

// A method as gRPC's proposal A66 names it.
std::string MethodLabel(Method method) {
  return method == Method::kUnknown ? "other" : std::string(PathOf(method)).substr(1);  // without the slash
}

// After gRPC's proposal A66, in the names that OpenTelemetry's rules make of its own for Prometheus.
void AddGrpcCalls(const CallMetrics::Snapshot& calls, Snapshot& out) {
  for (size_t i = 0; i < kMethods; ++i) {
    out.Counter("grpc_server_call_started_total",
                "Calls whose headers have come. What gRPC refuses before (headers too large, too many "
                "streams) is in none "
                "of grpc_server_call_*.",
                calls.started[i]);
    out.last().labels = {{"grpc_method", MethodLabel(static_cast<Method>(i))}};
  }
  for (const CallMetrics::Series& series : calls.ended) {
    const Labels labels = {{"grpc_method", MethodLabel(series.method)},
                           {"grpc_status", absl::StatusCodeToString(series.code)}};
    out.Seconds("grpc_server_call_duration_seconds", "From a call's headers to the end of its status.",
                labels, series.duration);
    out.Bytes("grpc_server_call_rcvd_total_compressed_message_size_bytes", "Of a call's received messages.",
              labels, series.received);
    out.Bytes("grpc_server_call_sent_total_compressed_message_size_bytes", "Of a call's sent messages.",
              labels, series.sent);
  }
}

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
  out.Counter("kldiv_calls_unauthenticated_total", "Calls refused because they showed no valid token.",
              counters.unauthenticated_calls);
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

// What was computed on arrival waited for no lane and is in no batch.
void AddArrivals(const ServiceCounters& counters, Snapshot& out) {
  HistogramCounts compute;
  HistogramCounts total;
  counters.compute_on_arrival.AddTo(compute);
  counters.total.AddTo(total);
  out.Seconds("kldiv_compute_seconds",
              "Computing of a batch by a lane, or, on arrival, of a message too small for a batch.",
              {{"lane", "arrival"}, {"device", "cpu"}}, compute);
  out.Seconds("kldiv_total_seconds", "From a call's headers, or a stream's message, to the answer.", {},
              total);
}

void AddLanes(const LaneRunner* lanes, Snapshot& out) {
  if (lanes == nullptr) return;
  for (const LaneCounts& counts : lanes->counts()) {
    const bool cuda = counts.kind == LaneKind::kCuda;
    const Labels labels = {{"lane", cuda ? "cuda" : "cpu"}, {"device", counts.device}};
    out.Seconds("kldiv_queue_seconds", "From a pair's being enqueued to the start of its computing.", labels,
                counts.queue);
    if (cuda) {
      out.Seconds("kldiv_gather_seconds", "Bringing a batch's tensors together for the device.", labels,
                  counts.gather);
      out.Seconds("kldiv_copy_seconds", "Copying a batch to the device and its results back.", labels,
                  counts.copy);
    }
    out.Seconds("kldiv_compute_seconds", "", labels, counts.compute);
    out.Histogram("kldiv_batch_pairs", "Pairs of a batch.", labels, counts.pairs, kPairBounds, 1);
    out.Bytes("kldiv_batch_bytes", "Bytes of a batch's tensors.", labels, counts.bytes);
    out.Histogram("kldiv_batch_fill_ratio", "Bytes of a batch, as a part of --max_batch_bytes.", labels,
                  counts.fill, kFillBounds, 1000);
  }
}

void AddConnections(const Listener::Counters& connections, Snapshot& out) {
  out.Counter("kldiv_connections_accepted_total", "Connections accepted.", connections.accepted);
  out.Gauge("kldiv_connections_open", "Connections that are open.", connections.open);
  out.Counter("kldiv_connections_refused_total",
              "Connections closed at once: --max_connections were open and none gave way.",
              connections.refused);
  out.Counter("kldiv_connections_evicted_total",
              "Connections ended so that another client could connect: --max_connections were open.",
              connections.evicted);
  out.Counter("kldiv_accept_errors_total", "Failed accepts, for want of descriptors or memory.",
              connections.accept_errors);
}

}  // namespace

std::vector<Metric> MetricsSnapshot(const MetricSources& sources) {
  Snapshot out;
  AddGrpcCalls(sources.calls.snapshot(), out);
  AddCalls(sources.service.counters(), out);
  AddPairs(sources.service.counters(), out);
  AddQueue(sources.batcher.counters(), sources.admission, out);
  AddArrivals(sources.service.counters(), out);
  AddLanes(sources.cpu_lanes, out);
  AddLanes(sources.cuda_lanes, out);
  const ReadGrants::Usage grants = sources.service.read_grants();
  out.Gauge("kldiv_read_grants", "Messages of the largest size that may be read at a time.", grants.total);
  out.Gauge("kldiv_read_grants_held", "Of these, in use.", grants.held);
  out.Gauge("kldiv_read_grants_parked", "Calls that wait for one.", grants.parked);
  AddConnections(sources.listener.counters(), out);
  if (sources.certificates != nullptr) {
    out.Gauge("kldiv_certificate_expiry_timestamp_seconds",
              "When the first certificate of --tls_cert expires, in seconds since the epoch.",
              sources.certificates->value().Get()->expires_at);
  }
  out.Gauge("kldiv_build_info", "1, with the build's facts as labels.", 1);
  out.last().labels = {
      {"version", base::kVersion}, {"build", kBuildInfo}, {"instruction_set", cpu_kernel::InstructionSet()}};
  out.Add(ProcessMetrics());
  return out.Take();
}

}  // namespace kldiv::server
