#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/npy.h"
#include "client/tool/choices.h"
#include "client/tool/commands.h"
#include "client/tool/connection_flags.h"
#include "client/tool/hints.h"
#include "client/tool/local_evaluation.h"
#include "server/lanes/cpu_count.h"

namespace kldiv::tool {
namespace {

// What is known of a finished evaluation. Pointwise losses are in the output file.
struct Outcome {
  std::optional<double> loss;
  int64_t element_count = 0;
  uint32_t numerics_version = 0;
  Timing timing;
};

numerics::DType ToNumerics(DType dtype) { return static_cast<numerics::DType>(dtype); }

const char* DTypeName(DType dtype) {
  return dtype == DType::kFp64 ? "float64" : dtype == DType::kFp32 ? "float32" : "float16";
}

std::string ShapeText(std::span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// `losses`: where pointwise losses go.
Outcome EvaluateLocally(const Pair& pair, int64_t elements, std::span<std::byte> losses) {
  const auto start = std::chrono::steady_clock::now();
  const LocalPair local = ToLocal(pair, elements);
  const int threads = server::AvailableCpus();
  Outcome outcome;
  outcome.element_count = elements;
  outcome.numerics_version = numerics::kNumericsVersion;
  if (pair.reduction == Reduction::kNone) {
    ComputeLosses(local, threads, losses);
  } else {
    outcome.loss = Reduce(SumLosses(local, threads), pair, elements);
  }
  outcome.timing.compute = outcome.timing.total = std::chrono::steady_clock::now() - start;
  outcome.timing.batch_pairs = 1;
  return outcome;
}

absl::StatusOr<Outcome> EvaluateOnServer(const Pair& pair, const Settings& settings,
                                         std::span<std::byte> losses) {
  const absl::StatusOr<std::unique_ptr<Client>> client = Connect(settings.client);
  if (!client.ok()) return client.status();
  const CallOptions options = {.timeout = settings.timeout};
  const absl::StatusOr<Evaluation> evaluation = (*client)->Evaluate(pair, options);
  if (!evaluation.ok()) return evaluation.status();
  Outcome outcome;
  outcome.loss = evaluation->loss;
  outcome.element_count = evaluation->element_count;
  outcome.timing = evaluation->timing.value_or(Timing{});
  if (pair.reduction == Reduction::kNone) {
    if (!evaluation->pointwise.has_value() || evaluation->pointwise->data.size() != losses.size()) {
      return absl::InternalError(
          absl::StrCat("the server's answer has not the ", losses.size(), " bytes expected"));
    }
    if (!losses.empty()) std::memcpy(losses.data(), evaluation->pointwise->data.data(), losses.size());
  } else if (!outcome.loss.has_value()) {
    return absl::InternalError("the server's answer has no loss");
  }
  if (settings.format == Format::kJson) {
    const absl::StatusOr<ServerInfo> info = (*client)->GetServerInfo(options);
    if (!info.ok()) return info.status();
    outcome.numerics_version = info->numerics_version;
  }
  return outcome;
}

std::string ToJson(const Outcome& outcome, const Pair& pair) {
  nlohmann::ordered_json loss;  // null for `none`
  if (outcome.loss.has_value()) {
    if (std::isfinite(*outcome.loss)) {
      loss = *outcome.loss;
    } else {
      loss = FormatLoss(*outcome.loss);
    }
  }
  const nlohmann::ordered_json json = {
      {"loss", loss},
      {"reduction", NameIn(kReductions, pair.reduction)},
      {"shape", std::vector<int64_t>(pair.input.shape.begin(), pair.input.shape.end())},
      {"input_dtype", DTypeName(pair.input.dtype)},
      {"target_dtype", DTypeName(pair.target.dtype)},
      {"element_count", outcome.element_count},
      {"numerics_version", outcome.numerics_version},
      {"timing",
       {{"queue_ns", outcome.timing.queue.count()},
        {"compute_ns", outcome.timing.compute.count()},
        {"total_ns", outcome.timing.total.count()},
        {"batch_pairs", outcome.timing.batch_pairs}}}};
  return json.dump();
}

}  // namespace

ExitCode Eval(const Settings& settings, const std::string& input_path, const std::string& target_path) {
  const absl::StatusOr<npy::File> input = npy::File::Open(input_path);
  if (!input.ok()) return Refuse(input.status());
  const absl::StatusOr<npy::File> target = npy::File::Open(target_path);
  if (!target.ok()) return Refuse(target.status());
  const Pair pair = {.input = input->array().tensor(),
                     .target = target->array().tensor(),
                     .reduction = settings.reduction,
                     .log_target = settings.log_target,
                     .zero_target = settings.zero_target,
                     .want_timing = settings.format == Format::kJson};
  const std::string where = settings.local ? "--local" : settings.client.server;
  // A server refuses it too; but it is worth no transfer, and --local has no server.
  if (input->array().shape != target->array().shape) {
    return Fail(where, absl::InvalidArgumentError(absl::StrCat("the shapes differ: ", input_path, " is ",
                                                               ShapeText(pair.input.shape), ", ", target_path,
                                                               " is ", ShapeText(pair.target.shape))));
  }
  std::optional<npy::OutputFile> output;
  std::span<std::byte> losses;
  if (settings.reduction == Reduction::kNone) {
    const numerics::DType dtype =
        numerics::Promote(ToNumerics(pair.input.dtype), ToNumerics(pair.target.dtype));
    absl::StatusOr<npy::OutputFile> file =
        npy::OutputFile::Create(settings.output, static_cast<DType>(dtype), pair.input.shape);
    if (!file.ok()) return Refuse(file.status());
    output.emplace(*std::move(file));
    losses = output->data();
  }
  const absl::StatusOr<Outcome> outcome = settings.local
                                              ? EvaluateLocally(pair, input->array().elements, losses)
                                              : EvaluateOnServer(pair, settings, losses);
  if (!outcome.ok()) return Fail(where, outcome.status());
  if (output.has_value()) {
    if (absl::Status status = output->Commit(); !status.ok()) return Refuse(status);
  }
  for (const std::string& hint : HintsFor(pair)) PrintLine(absl::StrCat("hint: ", hint));
  if (settings.format == Format::kJson) return PrintResult(ToJson(*outcome, pair));
  return outcome->loss.has_value() ? PrintResult(FormatLoss(*outcome->loss)) : kSuccess;
}

}  // namespace kldiv::tool
