#ifndef KLDIV_SERVER_METRICS_SNAPSHOT_H_
#define KLDIV_SERVER_METRICS_SNAPSHOT_H_

#include <vector>

#include "server/batching/admission.h"
#include "server/batching/batcher.h"
#include "server/net/listener.h"
#include "server/observability/metrics.h"
#include "server/rpc/service.h"

namespace kldiv::server {

// All numbers of a running server at this moment, for Prometheus. Thread-safe.
std::vector<Metric> MetricsSnapshot(const EvaluationService& service, const Batcher& batcher,
                                    const Admission& admission, const Listener& listener);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_METRICS_SNAPSHOT_H_
