#include "client/load/settings.h"

#include <unistd.h>

#include <cmath>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "client/tool/choices.h"
#include "client/tool/connection_flags.h"

ABSL_FLAG(absl::Duration, timeout, absl::Seconds(30), "Time that a call may take.");
ABSL_FLAG(int32_t, connections, 1, "TCP connections; the calls take turns on them.");
ABSL_FLAG(bool, retry, false,
          "Have the client library send again what a server sheds or drops: a call then ends with its last "
          "attempt, and that time counts.");

ABSL_FLAG(
    std::string, concurrency, "",
    "Closed loop: so many calls are always under way, 16 unless another load is given. 1:128:*2 or 1:10:+3 "
    "is one run for each value.");
ABSL_FLAG(
    std::string, rate, "",
    "Open loop: so many calls are due each second, and latency counts from when a call was due. Ranges as "
    "with --concurrency. None is skipped; with 65536 under way the next one starts late.");
ABSL_FLAG(std::string, arrivals, "poisson", "Of an open loop: poisson (at random), or constant gaps.");
ABSL_FLAG(bool, search, false,
          "Find the highest rate that meets --slo, by doubling and then bisection from --rate (100); or the "
          "highest "
          "concurrency, from --concurrency, where that is given.");
ABSL_FLAG(int32_t, threads, 1,
          "Threads that start the calls of an open loop. In a closed loop, as everywhere for answers, each "
          "connection "
          "has a thread of its own.");
ABSL_FLAG(absl::Duration, warmup, absl::Seconds(2), "Time before the measured one, of each run.");
ABSL_FLAG(absl::Duration, duration, absl::Seconds(10), "Measured time of each run, but not of a search's.");
ABSL_FLAG(int64_t, count, 0, "End a run after so many measured calls instead; 0: it does not.");

ABSL_FLAG(std::string, mode, "unary",
          "unary: a pair a call; batch: --batch_pairs of them in one message; stream: pairs over one stream "
          "to each "
          "connection.");
ABSL_FLAG(int32_t, batch_pairs, 64, "Pairs in a message of --mode=batch.");
ABSL_FLAG(std::string, shape, "32x1000", "Shape of the pairs, or several with weights: 32x1000:3,1000:1.");
ABSL_FLAG(std::string, dtype, "fp32", "fp16, bf16, fp32 or fp64.");
ABSL_FLAG(std::string, reduction, "mean", "none, mean, batchmean or sum.");
ABSL_FLAG(bool, log_target, false, "The target holds log-probabilities.");
ABSL_FLAG(uint64_t, seed, 1, "Of the random data, the order of the pairs and the arrivals.");
ABSL_FLAG(std::string, input, "", "Send this .npy file, with --target, instead of random data.");
ABSL_FLAG(std::string, target, "", "See --input.");
ABSL_FLAG(bool, server_timing, true, "Have the server tell how long each call waited and was computed.");

ABSL_FLAG(
    bool, verify, true,
    "Compare every answer, bit for bit, with the one computed here before the run. Refused when the server's "
    "numerics_version is another one.");
ABSL_FLAG(std::string, slo, "",
          "What latency has to be: p99<5ms, or several bounds with commas between. Of any percentile, mean "
          "and max.");
ABSL_FLAG(double, max_error_rate, 0, "Share of the calls that may fail, 0 to 1. A wrong answer never may.");
ABSL_FLAG(std::string, json, "", "File to write everything to, as JSON.");
ABSL_FLAG(std::string, html, "",
          "File to write everything to, as a page with charts that loads nothing else.");
ABSL_FLAG(bool, progress, isatty(STDERR_FILENO) != 0,
          "A line on stderr each second. The default is whether that is a terminal.");

namespace kldiv::load {
namespace {

constexpr absl::Duration kMaxTime = absl::Hours(24 * 365);
constexpr int kMaxConcurrency = 65536;
constexpr int kMaxConnections = 4096;
constexpr double kMaxRate = 1e7;
constexpr char kDefaultConcurrency[] = "16";
constexpr char kDefaultSearchRate[] = "100";

constexpr tool::Choices<Mode, 3> kModes = {
    {{"unary", Mode::kUnary}, {"batch", Mode::kBatch}, {"stream", Mode::kStream}}};
constexpr tool::Choices<DType, 4> kDTypes = {
    {{"fp16", DType::kFp16}, {"bf16", DType::kBf16}, {"fp32", DType::kFp32}, {"fp64", DType::kFp64}}};
constexpr tool::Choices<Arrivals, 2> kArrivals = {
    {{"constant", Arrivals::kConstant}, {"poisson", Arrivals::kPoisson}}};

absl::Status Refusal(absl::string_view flag, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, ": ", what));
}

template <typename T, typename V>
absl::Status Take(absl::string_view flag, absl::StatusOr<T> value, V& to) {
  if (!value.ok()) return Refusal(flag, value.status().message());
  to = *std::move(value);
  return absl::OkStatus();
}

template <typename T>
absl::Status InRange(absl::string_view flag, T value, T min, T max) {
  if (value >= min && value <= max) return absl::OkStatus();  // Not a NaN.
  return absl::InvalidArgumentError(absl::StrCat("--", flag, "=", value, ": expected ", min, " to ", max));
}

absl::Status TimeFlag(absl::string_view flag, absl::Duration value, absl::Duration min, Duration& to) {
  if (value < min || value > kMaxTime) {
    return Refusal(flag, absl::StrCat(absl::FormatDuration(value), " is not between ",
                                      absl::FormatDuration(min), " and a year"));
  }
  to = absl::ToChronoNanoseconds(value);
  return absl::OkStatus();
}

absl::Status ReadWorkload(Settings& settings) {
  WorkloadOptions& workload = settings.workload;
  const auto mode = tool::Choose("mode", absl::GetFlag(FLAGS_mode), kModes);
  if (!mode.ok()) return mode.status();
  settings.mode = *mode;
  if (settings.mode == Mode::kBatch) {
    settings.batch_pairs = absl::GetFlag(FLAGS_batch_pairs);
    if (absl::Status s = InRange("batch_pairs", settings.batch_pairs, 1, 65536); !s.ok()) return s;
  }
  if (absl::Status s = Take("shape", ParseShapes(absl::GetFlag(FLAGS_shape)), workload.shapes); !s.ok())
    return s;
  const auto dtype = tool::Choose("dtype", absl::GetFlag(FLAGS_dtype), kDTypes);
  if (!dtype.ok()) return dtype.status();
  workload.dtype = *dtype;
  const auto reduction = tool::Choose("reduction", absl::GetFlag(FLAGS_reduction), tool::kReductions);
  if (!reduction.ok()) return reduction.status();
  workload.reduction = *reduction;
  workload.log_target = absl::GetFlag(FLAGS_log_target);
  workload.seed = absl::GetFlag(FLAGS_seed);
  workload.input_path = absl::GetFlag(FLAGS_input);
  workload.target_path = absl::GetFlag(FLAGS_target);
  if (workload.input_path.empty() != workload.target_path.empty()) {
    return Refusal(workload.input_path.empty() ? "target" : "input", "--input and --target go together");
  }
  workload.verify = absl::GetFlag(FLAGS_verify);
  workload.want_timing = absl::GetFlag(FLAGS_server_timing);
  return absl::OkStatus();
}

absl::Status ReadConcurrency(const std::string& text, Settings& settings) {
  std::vector<double> values;
  if (absl::Status s = Take("concurrency", ParseRange(text), values); !s.ok()) return s;
  for (const double value : values) {
    if (value != std::floor(value) || value > kMaxConcurrency) {
      return Refusal("concurrency", absl::StrCat(value, " is not a whole number up to ", kMaxConcurrency));
    }
    settings.concurrency.push_back(static_cast<int>(value));
  }
  return absl::OkStatus();
}

absl::Status ReadLoad(Settings& settings) {
  std::string concurrency = absl::GetFlag(FLAGS_concurrency);
  std::string rate = absl::GetFlag(FLAGS_rate);
  if (!concurrency.empty() && !rate.empty()) return Refusal("rate", "excludes --concurrency");
  settings.search = absl::GetFlag(FLAGS_search);
  if (concurrency.empty() && rate.empty()) {
    (settings.search ? rate : concurrency) = settings.search ? kDefaultSearchRate : kDefaultConcurrency;
  }
  if (!concurrency.empty()) {
    if (absl::Status s = ReadConcurrency(concurrency, settings); !s.ok()) return s;
  } else {
    if (absl::Status s = Take("rate", ParseRange(rate), settings.rates); !s.ok()) return s;
    if (settings.rates.back() > kMaxRate) return Refusal("rate", absl::StrCat("expected at most ", kMaxRate));
  }
  if (settings.search && settings.concurrency.size() + settings.rates.size() > 1) {
    return Refusal("search", "begins at one value, not at a range");
  }
  const auto arrivals = tool::Choose("arrivals", absl::GetFlag(FLAGS_arrivals), kArrivals);
  if (!arrivals.ok()) return arrivals.status();
  settings.arrivals = *arrivals;
  return absl::OkStatus();
}

absl::Status ReadLimits(Settings& settings) {
  if (absl::Status s = TimeFlag("warmup", absl::GetFlag(FLAGS_warmup), absl::ZeroDuration(), settings.warmup);
      !s.ok()) {
    return s;
  }
  if (absl::Status s =
          TimeFlag("duration", absl::GetFlag(FLAGS_duration), absl::Milliseconds(1), settings.duration);
      !s.ok()) {
    return s;
  }
  const int64_t count = absl::GetFlag(FLAGS_count);
  if (count < 0) return Refusal("count", "expected more than 0");
  if (count > 0) settings.count = static_cast<uint64_t>(count);
  if (const std::string text = absl::GetFlag(FLAGS_slo); !text.empty()) {
    if (absl::Status s = Take("slo", Slo::Parse(text), settings.slo); !s.ok()) return s;
  }
  if (settings.search && !settings.slo.has_value()) return Refusal("search", "needs --slo");
  if (settings.search && settings.count.has_value()) return Refusal("search", "excludes --count");
  settings.max_error_rate = absl::GetFlag(FLAGS_max_error_rate);
  return InRange("max_error_rate", settings.max_error_rate, 0.0, 1.0);
}

}  // namespace

absl::StatusOr<std::vector<double>> ParseRange(const std::string& text) {
  constexpr size_t kMostValues = 1000;
  const absl::Status refusal = absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is not a number over 0 or a range such as 1:128:*2 or 10:100:+10"));
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  double first = 0;
  if (!absl::SimpleAtod(parts[0], &first) || !std::isfinite(first) || first <= 0) return refusal;
  if (parts.size() == 1) return std::vector<double>{first};
  double last = 0;
  double step = 0;
  if (parts.size() != 3 || !absl::SimpleAtod(parts[1], &last) || !std::isfinite(last) || last < first)
    return refusal;
  absl::string_view step_text = parts[2];
  const bool times = absl::ConsumePrefix(&step_text, "*");
  if (!times && !absl::ConsumePrefix(&step_text, "+")) return refusal;
  if (!absl::SimpleAtod(step_text, &step) || !std::isfinite(step) || step <= (times ? 1 : 0)) return refusal;
  std::vector<double> values;
  for (double value = first; value <= last; value = times ? value * step : value + step) {
    if (values.size() == kMostValues) return refusal;
    values.push_back(value);
  }
  return values;
}

absl::StatusOr<Settings> ReadFlags() {
  absl::StatusOr<ClientOptions> client = tool::ReadConnectionFlags();
  if (!client.ok()) return client.status();
  Settings settings;
  settings.client = *std::move(client);
  settings.client.retry = absl::GetFlag(FLAGS_retry);
  if (absl::Status s = TimeFlag("timeout", absl::GetFlag(FLAGS_timeout), absl::Milliseconds(1),
                                settings.client.default_timeout);
      !s.ok()) {
    return s;
  }
  settings.connections = absl::GetFlag(FLAGS_connections);
  if (absl::Status s = InRange("connections", settings.connections, 1, kMaxConnections); !s.ok()) return s;
  settings.threads = absl::GetFlag(FLAGS_threads);
  if (absl::Status s = InRange("threads", settings.threads, 1, 1024); !s.ok()) return s;
  if (absl::Status s = ReadWorkload(settings); !s.ok()) return s;
  if (absl::Status s = ReadLoad(settings); !s.ok()) return s;
  if (absl::Status s = ReadLimits(settings); !s.ok()) return s;
  settings.json = absl::GetFlag(FLAGS_json);
  settings.html = absl::GetFlag(FLAGS_html);
  settings.progress = absl::GetFlag(FLAGS_progress);
  return settings;
}

std::span<const base::FlagGroup> FlagGroups() {
  static const base::FlagGroup kGroups[] = {
      {"Server",
       {"server", "connections", "timeout", "retry", "tls", "server_ca", "client_cert", "client_key",
        "client_token_file", "client_allow_plaintext_tokens"}},
      {"Load", {"concurrency", "rate", "arrivals", "search", "threads", "warmup", "duration", "count"}},
      {"What is sent",
       {"mode", "batch_pairs", "shape", "dtype", "reduction", "log_target", "seed", "input", "target",
        "server_timing"}},
      {"Judgement", {"verify", "slo", "max_error_rate"}},
      {"Output", {"json", "html", "progress"}}};
  return kGroups;
}

const char* Name(Mode mode) { return tool::NameIn(kModes, mode); }
const char* Name(DType dtype) { return tool::NameIn(kDTypes, dtype); }
const char* Name(Arrivals arrivals) { return tool::NameIn(kArrivals, arrivals); }

}  // namespace kldiv::load
