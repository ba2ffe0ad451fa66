#include "server/observability/metrics.h"

#include <CivetServer.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>

#include <exception>
#include <string>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "server/observability/log.h"

namespace kldiv::server {
namespace {

// Where this thread collects what civetweb complains of while it starts; null afterwards and elsewhere.
thread_local std::string* start_complaint = nullptr;

int OnCivetwebMessage(const mg_connection*, const char* message) {
  if (start_complaint != nullptr) {
    if (start_complaint->empty()) *start_complaint = message;  // The first one names the cause.
  } else {
    LogFromLibrary("civetweb", LogLevel::kWarning, message);
  }
  return 1;  // Handled: civetweb prints nothing itself.
}

prometheus::ClientMetric Convert(const Metric& metric) {
  prometheus::ClientMetric converted;
  for (const auto& [name, value] : metric.labels) converted.label.push_back({name, value});
  (metric.type == Metric::Type::kCounter ? converted.counter.value : converted.gauge.value) = metric.value;
  return converted;
}

// Metrics of one name become one family, in the order of their first ones.
std::vector<prometheus::MetricFamily> Families(const std::vector<Metric>& metrics) {
  std::vector<prometheus::MetricFamily> families;
  std::unordered_map<std::string, size_t> index;
  for (const Metric& metric : metrics) {
    const auto [entry, is_new] = index.emplace(metric.name, families.size());
    if (is_new) {
      const bool counter = metric.type == Metric::Type::kCounter;
      families.push_back({metric.name,
                          metric.help,
                          counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge,
                          {}});
    }
    families[entry->second].metric.push_back(Convert(metric));
  }
  return families;
}

class SnapshotCollectable final : public prometheus::Collectable {
 public:
  explicit SnapshotCollectable(MetricsServer::Snapshot snapshot) : snapshot_(std::move(snapshot)) {}
  std::vector<prometheus::MetricFamily> Collect() const override { return Families(snapshot_()); }

 private:
  const MetricsServer::Snapshot snapshot_;
};

class CivetwebMetricsServer final : public MetricsServer {
 public:
  CivetwebMetricsServer(ListenAddress address, std::unique_ptr<prometheus::Exposer> exposer,
                        Snapshot snapshot)
      : address_(std::move(address)),
        collectable_(std::make_shared<SnapshotCollectable>(std::move(snapshot))),
        exposer_(std::move(exposer)) {
    exposer_->RegisterCollectable(collectable_);
    address_.port = exposer_->GetListeningPorts().front();
  }

  std::string address() const override { return address_.ToString(); }

 private:
  ListenAddress address_;
  const std::shared_ptr<SnapshotCollectable> collectable_;  // the exposer keeps a weak pointer
  const std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(const ListenAddress& address,
                                                                    Snapshot snapshot) {
  // One worker: scrapes are rare, and each worker has buffers of its own. Its timeout bounds how long a
  // client that sends nothing keeps the others waiting.
  const std::vector<std::string> settings = {
      "listening_ports", address.ToString(), "num_threads", "1", "request_timeout_ms", "5000"};
  CivetCallbacks callbacks;
  callbacks.log_message = OnCivetwebMessage;
  std::string complaint;
  start_complaint = &complaint;
  std::unique_ptr<prometheus::Exposer> exposer;
  try {
    exposer = std::make_unique<prometheus::Exposer>(settings, &callbacks);
  } catch (const std::exception& error) {  // civetweb's way to say that it cannot listen
    if (complaint.empty()) complaint = error.what();
  }
  start_complaint = nullptr;
  if (exposer == nullptr)
    return absl::FailedPreconditionError(absl::StrCat(address.ToString(), ": ", complaint));
  return std::make_unique<CivetwebMetricsServer>(address, std::move(exposer), std::move(snapshot));
}

}  // namespace kldiv::server
