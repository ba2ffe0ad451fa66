#ifndef KLDIV_SERVER_OBSERVABILITY_METRICS_H_
#define KLDIV_SERVER_OBSERVABILITY_METRICS_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/net/listen_address.h"

namespace kldiv::server {

// One number at one moment.
struct Metric {
  enum class Type { kCounter, kGauge };

  std::string name;  // "kldiv_admitted_pairs_total"; metrics of one name share its help and type
  std::string help;
  Type type = Type::kGauge;
  std::vector<std::pair<std::string, std::string>> labels;  // name, value
  double value = 0;
};

// Shows metrics to Prometheus: http://ADDRESS/metrics, in its text format. Nothing is counted here and
// nothing happens between scrapes: each asks for a snapshot.
class MetricsServer {
 public:
  // Called on a thread of this server, one at a time; must not block.
  using Snapshot = std::function<std::vector<Metric>()>;

  // Serves on a TCP `address` until it is destroyed; `snapshot` is not called after that.
  //
  // FAILED_PRECONDITION: the address cannot be listened on; the message begins with it.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const ListenAddress& address,
                                                              Snapshot snapshot);

  virtual ~MetricsServer() = default;

  // HOST:PORT with the real port.
  virtual std::string address() const = 0;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_OBSERVABILITY_METRICS_H_
