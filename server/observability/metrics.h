#ifndef KLDIV_SERVER_OBSERVABILITY_METRICS_H_
#define KLDIV_SERVER_OBSERVABILITY_METRICS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/net/listen_address.h"

namespace kldiv::server {

// One number, or one histogram, at one moment.
struct Metric {
  enum class Type { kCounter, kGauge, kHistogram };

  std::string name;  // "kldiv_admitted_pairs_total"; metrics of one name share its help and type
  std::string help;
  Type type = Type::kGauge;
  std::vector<std::pair<std::string, std::string>> labels;  // name, value

  double value = 0;  // of a histogram: the sum of all values
  // Of a histogram: what each bucket includes at most, ascending, and how many values are in it alone; one
  // bucket more than bounds, for what is above them all.
  std::vector<double> bounds;
  std::vector<int64_t> buckets;
};

// `metrics` in Prometheus' text format.
std::string PrometheusText(const std::vector<Metric>& metrics);

// Shows metrics to Prometheus: http://ADDRESS/metrics, in its text format. Nothing is counted here and
// nothing happens between scrapes: each asks for a snapshot.
//
// Clients that send no request within 5 s, or do not take the answer within 10 s, are disconnected; of more
// than 16 at a time the one that came first.
class MetricsServer {
 public:
  // Called on a thread of this server, one at a time; must not block.
  using Snapshot = std::function<std::vector<Metric>()>;

  // Listens on a TCP `address`; whoever connects waits until Start.
  //
  // The errors are those of ListeningSocket::Open.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Open(const ListenAddress& address);

  virtual ~MetricsServer() = default;

  // Serves until it is destroyed; `snapshot` is not called after that. Once.
  virtual void Start(Snapshot snapshot) = 0;

  // HOST:PORT with the real port.
  virtual std::string address() const = 0;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_OBSERVABILITY_METRICS_H_
