#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <unordered_map>

#include "server/observability/metrics.h"

namespace kldiv::server {
namespace {

prometheus::MetricType TypeOf(const Metric& metric) {
  switch (metric.type) {
    case Metric::Type::kCounter:
      return prometheus::MetricType::Counter;
    case Metric::Type::kGauge:
      return prometheus::MetricType::Gauge;
    case Metric::Type::kHistogram:
      break;
  }
  return prometheus::MetricType::Histogram;
}

// In the format a bucket counts all values up to its bound.
prometheus::ClientMetric::Histogram Cumulative(const Metric& metric) {
  prometheus::ClientMetric::Histogram histogram;
  histogram.sample_sum = metric.value;
  for (size_t i = 0; i < metric.buckets.size(); ++i) {
    histogram.sample_count += static_cast<uint64_t>(metric.buckets[i]);
    if (i < metric.bounds.size()) histogram.bucket.push_back({histogram.sample_count, metric.bounds[i]});
  }
  return histogram;
}

prometheus::ClientMetric Convert(const Metric& metric) {
  prometheus::ClientMetric converted;
  for (const auto& [name, value] : metric.labels) converted.label.push_back({name, value});
  converted.counter.value = metric.value;
  converted.gauge.value = metric.value;
  if (metric.type == Metric::Type::kHistogram) converted.histogram = Cumulative(metric);
  return converted;
}

}  // namespace

// Metrics of one name become one family, in the order of their first ones.
std::string PrometheusText(const std::vector<Metric>& metrics) {
  std::vector<prometheus::MetricFamily> families;
  std::unordered_map<std::string, size_t> index;
  for (const Metric& metric : metrics) {
    const auto [entry, is_new] = index.emplace(metric.name, families.size());
    if (is_new) families.push_back({metric.name, metric.help, TypeOf(metric), {}});
    families[entry->second].metric.push_back(Convert(metric));
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace kldiv::server
