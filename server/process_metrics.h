#ifndef KLDIV_SERVER_PROCESS_METRICS_H_
#define KLDIV_SERVER_PROCESS_METRICS_H_

#include <vector>

#include "server/observability/metrics.h"

namespace kldiv::server {

// What Prometheus' client libraries tell of every process, under their names: CPU time, memory, descriptors,
// threads, the start. What cannot be read in /proc is left out. Thread-safe.
std::vector<Metric> ProcessMetrics();

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_PROCESS_METRICS_H_
