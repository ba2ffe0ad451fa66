#include <nlohmann/json.hpp>

#include "client/load/report.h"
#include "client/tool/choices.h"
#include "server/base/version.h"

namespace kldiv::load {
namespace {

using Json = nlohmann::ordered_json;

double Microseconds(double ns) { return ns / 1e3; }
double Microseconds(int64_t ns) { return static_cast<double>(ns) / 1e3; }

// Some percentiles in microseconds.
Json Percentiles(const Histogram& histogram, const std::vector<std::pair<const char*, double>>& wanted) {
  Json json = Json::object();
  for (const auto& [name, quantile] : wanted) json[name] = Microseconds(histogram.Percentile(quantile));
  return json;
}

Json Errors(const RunResult& run) {
  Json json = Json::object();
  for (const auto& [code, count] : run.totals.errors) json[absl::StatusCodeToString(code)] = count;
  return json;
}

Json ErrorTexts(const RunResult& run) {
  Json json = Json::object();
  for (const auto& [code, text] : run.totals.error_texts) json[absl::StatusCodeToString(code)] = text;
  return json;
}

Json SloOf(const Report& report, const RunResult& run) {
  if (!report.settings.slo.has_value()) return nullptr;
  return {{"expression", report.settings.slo->text()}, {"met", MeetsSlo(report, run)}};
}

Json Offered(const RunResult& run) {
  if (run.plan.concurrency.has_value()) return nullptr;
  return run.offered_rate();
}

Json ServerTimes(const RunResult& run) {
  if (run.totals.queue.count() == 0) return nullptr;
  const std::vector<std::pair<const char*, double>> wanted = {{"p50", 0.5}, {"p99", 0.99}};
  return {{"queue", Percentiles(run.totals.queue, wanted)},
          {"compute", Percentiles(run.totals.compute, wanted)}};
}

Json Spectrum(const Histogram& latency) {
  Json json = Json::array();
  for (const Histogram::Point& point : latency.Spectrum()) {
    json.push_back({point.quantile, Microseconds(point.ns), point.at_most});
  }
  return json;
}

Json Timeline(const RunResult& run) {
  Json json = Json::array();
  for (const Second& second : run.timeline) {
    json.push_back({{"t_s", second.t_s},
                    {"offered", second.offered},
                    {"ok", second.ok},
                    {"errors", second.errors},
                    {"p50_us", Microseconds(second.p50_ns)},
                    {"p99_us", Microseconds(second.p99_ns)},
                    {"max_us", Microseconds(second.max_ns)}});
  }
  return json;
}

Json Latency(const Histogram& latency) {
  Json json = {{"min", Microseconds(latency.min())}, {"mean", Microseconds(latency.mean())}};
  json.update(Percentiles(latency, {{"p50", 0.5},
                                    {"p90", 0.9},
                                    {"p99", 0.99},
                                    {"p999", 0.999},
                                    {"p9999", 0.9999},
                                    {"p99999", 0.99999},
                                    {"max", 1}}));
  return json;
}

Json RunJson(const Report& report, const RunResult& run) {
  const Totals& totals = run.totals;
  const bool closed = run.plan.concurrency.has_value();
  return {{"label", run.plan.label},
          {"loop", closed ? "closed" : "open"},
          {"concurrency", closed ? Json(*run.plan.concurrency) : Json(nullptr)},
          {"arrivals", closed ? Json(nullptr) : Json(Name(run.plan.arrivals))},
          {"offered_rate", Offered(run)},
          {"achieved_rate", run.achieved_rate()},
          {"pairs_per_second", run.Rate(totals.answered_pairs)},
          {"bytes_per_second", run.Rate(static_cast<uint64_t>(totals.answered_bytes))},
          {"duration_s", ToSeconds(run.measured)},
          {"calls", totals.calls},
          {"ok", totals.ok},
          {"late_starts", totals.late_starts},
          {"latency_us", Latency(totals.latency)},
          {"start_delay_us", Percentiles(totals.start_delay, {{"p50", 0.5}, {"p99", 0.99}, {"max", 1}})},
          {"errors", Errors(run)},
          {"error_texts", ErrorTexts(run)},
          {"wrong_answers", totals.wrong},
          {"wrong_in_warmup", totals.wrong_before},
          {"slo", SloOf(report, run)},
          {"saturated", !run.saturation.empty()},
          {"saturation", run.saturation},
          {"server_us", ServerTimes(run)},
          {"spectrum", Spectrum(totals.latency)},
          {"timeline", Timeline(run)}};
}

Json ServerJson(const Report& report) {
  if (!report.server.has_value()) return nullptr;
  return {{"address", report.settings.client.server},
          {"version", report.server->version},
          {"backend", report.server->backend},
          {"devices", report.server->devices},
          {"numerics_version", report.server->numerics_version}};
}

Json WorkloadJson(const Settings& settings) {
  Json shapes = Json::array();
  for (const ShapeWeight& entry : settings.workload.shapes) {
    shapes.push_back({{"shape", entry.shape}, {"weight", entry.weight}});
  }
  return {{"mode", Name(settings.mode)},
          {"shapes", shapes},
          {"dtype", Name(settings.workload.dtype)},
          {"reduction", tool::NameIn(tool::kReductions, settings.workload.reduction)},
          {"log_target", settings.workload.log_target},
          {"batch_pairs", settings.batch_pairs},
          {"connections", settings.connections},
          {"threads", settings.threads},
          {"retry", settings.client.retry},
          {"seed", settings.workload.seed},
          {"verify", settings.workload.verify}};
}

Json SearchJson(const Report& report) {
  if (!report.search.has_value()) return nullptr;
  Json steps = Json::array();
  for (const SearchStep& step : report.search->steps) {
    Json windows = Json::array();
    for (const WindowVerdict& window : step.windows) {
      windows.push_back({{"good", window.good},
                         {"offered", window.offered},
                         {"ok", window.ok},
                         {"failed", window.failed},
                         {"p50_us", Microseconds(window.p50_ns)},
                         {"p99_us", Microseconds(window.p99_ns)}});
    }
    steps.push_back({{"value", step.value}, {"held", step.held}, {"windows", windows}});
  }
  return {{"variable", report.settings.open_loop() ? "rate" : "concurrency"},
          {"slo", report.settings.slo->text()},
          {"best", report.search->best.has_value() ? Json(*report.search->best) : Json(nullptr)},
          {"steps", steps},
          {"rule", report.search->rule}};
}

}  // namespace

std::string ToJson(const Report& report) {
  const RunResult& run = report.deciding();
  Json json = {
      {"version", base::kVersion},
      {"started", report.started},
      {"command", report.command},
      {"server", ServerJson(report)},
      {"workload", WorkloadJson(report.settings)},
      {"offered_rate", Offered(run)},
      {"achieved_rate", run.achieved_rate()},
      {"late_starts", run.totals.late_starts},
      {"latency_us", Percentiles(run.totals.latency,
                                 {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}})},
      {"errors", Errors(run)},
      {"wrong_answers", run.totals.wrong},
      {"slo", SloOf(report, run)},
      {"saturated", !run.saturation.empty()},
      {"failures", Failures(report)},
      {"runs", Json::array()},
      {"search", SearchJson(report)}};
  for (const RunResult& each : report.runs) json["runs"].push_back(RunJson(report, each));
  // Texts of a server may be anything.
  return json.dump(/*indent=*/1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace kldiv::load
