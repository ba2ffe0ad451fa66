#ifndef KLDIV_SERVER_METRICS_SNAPSHOT_H_
#define KLDIV_SERVER_METRICS_SNAPSHOT_H_

#include <vector>

#include "server/batching/admission.h"
#include "server/batching/batcher.h"
#include "server/batching/lane_runner.h"
#include "server/net/listener.h"
#include "server/observability/metrics.h"
#include "server/rpc/call_metrics.h"
#include "server/rpc/service.h"
#include "server/security/certificates.h"

namespace kldiv::server {

// Those that count in a running server.
struct MetricSources {
  const CallMetrics& calls;
  const EvaluationService& service;
  const Batcher& batcher;
  const Admission& admission;
  const Listener& listener;
  const LaneRunner* cpu_lanes;       // null: there are none
  const LaneRunner* cuda_lanes;      // null: there are none
  const Certificates* certificates;  // null: there are none
};

// All numbers of a running server at this moment, for Prometheus. Thread-safe.
std::vector<Metric> MetricsSnapshot(const MetricSources& sources);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_METRICS_SNAPSHOT_H_
