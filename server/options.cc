#include "server/options.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "server/base/command_line.h"
#include "server/flags.h"
#include "server/security_options.h"

namespace kldiv::server {
namespace {

using base::ByteSize;

constexpr int64_t kMaxMessageBytes = (int64_t{1} << 31) - 1;  // gRPC counts a message's bytes in an int
constexpr int64_t kMaxBytes = int64_t{1} << 50;               // of any size, so that no sum overflows
constexpr int64_t kDefaultQueueBytes = 256 << 20;
constexpr int64_t kDefaultConnections = 4096;
constexpr int kMaxThreads = 1024;
constexpr int kMaxCudaLanes = 64;
constexpr int kMaxReadGrants = 1'000'000;
constexpr int kMaxHealthConnections = 256;
constexpr int kOwnDescriptors = 64;  // listeners, pollers, metrics, what libraries open
constexpr absl::Duration kMaxTimeout = absl::Hours(24);

// Values as a user writes them.
std::string Text(int64_t count) { return absl::StrCat(count); }
std::string Text(ByteSize size) { return AbslUnparseFlag(size); }
std::string Text(absl::Duration duration) { return AbslUnparseFlag(duration); }
std::string Bytes(int64_t bytes) { return Text(ByteSize{bytes}); }

bool operator<(ByteSize a, ByteSize b) { return a.bytes < b.bytes; }

// Takes values from flags; the first that is out of bounds becomes the status.
class Reader {
 public:
  int Count(const absl::Flag<int32_t>& flag, int least, int most) { return InRange(flag, least, most); }
  int64_t Number(const absl::Flag<int64_t>& flag, int64_t least, int64_t most) {
    return InRange(flag, least, most);
  }
  int64_t Size(const absl::Flag<ByteSize>& flag, int64_t least, int64_t most) {
    return InRange(flag, ByteSize{least}, ByteSize{most}).bytes;
  }
  std::chrono::milliseconds Timeout(const absl::Flag<absl::Duration>& flag, absl::Duration least) {
    return absl::ToChronoMilliseconds(InRange(flag, least, kMaxTimeout));
  }

  const absl::Status& status() const { return status_; }

 private:
  template <typename T>
  T InRange(const absl::Flag<T>& flag, T least, T most) {
    const T value = absl::GetFlag(flag);
    if (!(value < least) && !(most < value)) return value;
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(absl::StrCat("--", flag.Name(), "=", Text(value),
                                                        ": must be from ", Text(least), " to ", Text(most)));
    }
    return least;
  }

  absl::Status status_;
};

absl::Status Prefixed(absl::string_view flag, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("--", flag, ": ", status.message()));
}

absl::StatusOr<std::vector<ListenAddress>> ListenAddresses() {
  std::vector<ListenAddress> addresses;
  const std::string listen = absl::GetFlag(FLAGS_listen);
  for (const absl::string_view text : absl::StrSplit(listen, ',')) {
    absl::StatusOr<ListenAddress> address = ParseListenAddress({text.data(), text.size()});
    if (!address.ok()) return Prefixed("listen", address.status());
    addresses.push_back(*std::move(address));
  }
  return addresses;
}

// Of a listener that may be off.
absl::StatusOr<std::optional<ListenAddress>> OptionalAddress(const absl::Flag<std::string>& flag) {
  const std::string text = absl::GetFlag(flag);
  if (text.empty()) return std::optional<ListenAddress>();
  absl::StatusOr<ListenAddress> address = ParseListenAddress(text);
  if (!address.ok()) return Prefixed(flag.Name(), address.status());
  return std::optional<ListenAddress>(*std::move(address));
}

absl::Status ReadAddresses(ServerOptions& options) {
  absl::StatusOr<std::vector<ListenAddress>> listen = ListenAddresses();
  if (!listen.ok()) return listen.status();
  options.listen = *std::move(listen);
  absl::StatusOr<std::optional<ListenAddress>> metrics = OptionalAddress(FLAGS_metrics_listen);
  if (!metrics.ok()) return metrics.status();
  options.metrics_listen = *std::move(metrics);
  if (options.metrics_listen.has_value() && !options.metrics_listen->is_tcp()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--metrics_listen=", options.metrics_listen->ToString(), ": expected HOST:PORT"));
  }
  absl::StatusOr<std::optional<ListenAddress>> health = OptionalAddress(FLAGS_health_listen);
  if (!health.ok()) return health.status();
  options.health_listen = *std::move(health);
  return absl::OkStatus();
}

absl::StatusOr<Backend> ParseBackend() {
  const std::string backend = absl::GetFlag(FLAGS_backend);
  if (backend == "auto") return Backend::kAuto;
  if (backend == "cpu") return Backend::kCpu;
  if (backend == "cuda") return Backend::kCuda;
  return absl::InvalidArgumentError(absl::StrCat("--backend=", backend, ": must be auto, cpu or cuda"));
}

// The numbers of --cuda_devices; nullopt: all.
absl::StatusOr<std::optional<std::vector<int>>> CudaDeviceNumbers() {
  const std::string text = absl::GetFlag(FLAGS_cuda_devices);
  if (text == "all") return std::optional<std::vector<int>>();
  std::vector<int> numbers;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    int number = 0;
    if (!absl::SimpleAtoi(part, &number) || number < 0 ||
        std::find(numbers.begin(), numbers.end(), number) != numbers.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--cuda_devices=", text, ": must be all, or different numbers separated by commas"));
    }
    numbers.push_back(number);
  }
  return std::optional(std::move(numbers));
}

// The devices that serve. What is wrong with others is a warning, unless --backend=cuda asks for them.
absl::Status FindDevices(const Host& host, ServerOptions& options) {
  const absl::StatusOr<std::optional<std::vector<int>>> numbers = CudaDeviceNumbers();
  if (!numbers.ok()) return numbers.status();
  const bool required = options.backend == Backend::kCuda;
  if (host.find_cuda_devices == nullptr) {
    return required ? absl::FailedPreconditionError("--backend=cuda: this build has no CUDA")
                    : absl::OkStatus();
  }
  if (options.backend == Backend::kCpu) return absl::OkStatus();
  absl::StatusOr<cuda::FoundDevices> found = host.find_cuda_devices(*numbers);
  if (!found.ok()) {
    if (required) {
      return absl::FailedPreconditionError(absl::StrCat("--backend=cuda: ", found.status().message()));
    }
    options.warnings.push_back(absl::StrCat("no CUDA device serves: ", found.status().message()));
    return absl::OkStatus();
  }
  for (const std::string& warning : found->warnings) {
    if (required && numbers->has_value()) {
      return absl::FailedPreconditionError(absl::StrCat("--cuda_devices: ", warning));
    }
    options.warnings.push_back(absl::StrCat("a CUDA device does not serve: ", warning));
  }
  options.cuda_devices = std::move(found->devices);
  return absl::OkStatus();
}

// Memory that CUDA lanes hold from the start.
int64_t LaneBytes(const ServerOptions& options) {
  const auto lanes = static_cast<int64_t>(options.cuda_devices.size()) * options.cuda_lanes;
  return lanes == 0 ? 0 : lanes * cuda::LaneHostBytes(options.max_batch_bytes);
}

int64_t DefaultMaxMemory(const Host& host) {
  const bool limited = host.memory_limit_bytes > 0 && host.memory_limit_bytes < host.memory_bytes;
  return limited ? host.memory_limit_bytes / 4 * 3 : host.memory_bytes / 2;
}

void FitDescriptors(const Host& host, ServerOptions& options) {
  options.health_connections = std::clamp(host.max_descriptors / 8, 1, kMaxHealthConnections);
  const int others = kOwnDescriptors + (options.health_listen.has_value() ? options.health_connections : 0);
  const int most = std::max(1, host.max_descriptors - others);
  if (options.max_connections <= most) return;
  options.warnings.push_back(absl::StrCat("--max_connections=", options.max_connections,
                                          " is more than the limit of ", host.max_descriptors,
                                          " open files allows; it is ", most, " now"));
  options.max_connections = most;
}

// Gives out what max_memory holds.
absl::Status PlanMemory(const Host& host, ServerOptions& options) {
  if (options.max_memory == 0) options.max_memory = DefaultMaxMemory(host);
  if (options.max_queue_bytes == 0) {
    options.max_queue_bytes = std::max<int64_t>(1, std::min(kDefaultQueueBytes, options.max_memory / 4));
  }
  if (options.max_connections == 0) {
    const int64_t fitting = options.max_memory / 8 / kStreamWindowBytes;
    options.max_connections = static_cast<int>(std::clamp<int64_t>(fitting, 1, kDefaultConnections));
  }
  FitDescriptors(host, options);
  const int64_t windows = options.max_connections * kStreamWindowBytes;
  const int64_t lanes = LaneBytes(options);
  const int64_t taken = options.max_queue_bytes + windows + kBaseBytes + lanes;
  const int64_t grants = std::max<int64_t>(0, options.max_memory - taken) / options.max_message_bytes;
  if (grants < 1) {
    return absl::FailedPreconditionError(absl::StrCat(
        "--max_memory=", Bytes(options.max_memory),
        " leaves no room to read one message: --max_queue_bytes takes ", Bytes(options.max_queue_bytes), ", ",
        options.max_connections, " connections (--max_connections) take ", Bytes(windows), ", the process ",
        Bytes(kBaseBytes),
        lanes > 0 ? absl::StrCat(", the lanes of ", options.cuda_devices.size(),
                                 " CUDA devices (--cuda_lanes, --max_batch_bytes) ", Bytes(lanes))
                  : std::string(),
        ", and --max_message_bytes is ", Bytes(options.max_message_bytes), "; at least ",
        Bytes(taken + options.max_message_bytes), " are needed"));
  }
  options.read_grants = static_cast<int>(std::min<int64_t>(grants, kMaxReadGrants));
  return absl::OkStatus();
}

// What stands for itself: the log's format and the backend.
absl::Status ReadNames(ServerOptions& options) {
  const absl::StatusOr<LogFormat> log_format = ParseLogFormat(absl::GetFlag(FLAGS_log_format));
  if (!log_format.ok()) return Prefixed("log_format", log_format.status());
  options.log_format = *log_format;
  const absl::StatusOr<Backend> backend = ParseBackend();
  if (!backend.ok()) return backend.status();
  options.backend = *backend;
  options.check_config = absl::GetFlag(FLAGS_check_config);
  return absl::OkStatus();
}

absl::Status ReadNumbers(ServerOptions& options) {
  constexpr int kNoLimit = std::numeric_limits<int>::max();
  Reader read;
  options.cpu_threads = read.Count(FLAGS_cpu_threads, 0, kMaxThreads);
  options.polling_threads = read.Count(FLAGS_polling_threads, 0, kMaxThreads);
  options.cuda_lanes = read.Count(FLAGS_cuda_lanes, 1, kMaxCudaLanes);
  options.cuda_min_batch_elements = read.Number(FLAGS_cuda_min_batch_elements, 0, kMaxBytes);
  options.max_memory = read.Size(FLAGS_max_memory, 0, kMaxBytes);
  options.max_message_bytes = read.Size(FLAGS_max_message_bytes, 1, kMaxMessageBytes);
  options.max_queue_bytes = read.Size(FLAGS_max_queue_bytes, 0, kMaxBytes);
  options.max_batch_bytes = read.Size(FLAGS_max_batch_bytes, 1, kMaxBytes);
  options.max_connections = read.Count(FLAGS_max_connections, 0, kNoLimit);
  options.max_pairs_per_message = read.Count(FLAGS_max_pairs_per_message, 1, kNoLimit);
  options.max_in_flight_per_stream = read.Count(FLAGS_max_in_flight_per_stream, 1, kNoLimit);
  options.read_timeout = read.Timeout(FLAGS_read_timeout, absl::Milliseconds(1));
  options.write_timeout = read.Timeout(FLAGS_write_timeout, absl::Milliseconds(1));
  options.max_connection_age = read.Timeout(FLAGS_max_connection_age, absl::ZeroDuration());
  options.drain_delay = read.Timeout(FLAGS_drain_delay, absl::ZeroDuration());
  options.drain_timeout = read.Timeout(FLAGS_drain_timeout, absl::ZeroDuration());
  return read.status();
}

}  // namespace

absl::StatusOr<ServerOptions> OptionsFromFlags(const Host& host) {
  ServerOptions options;
  for (const absl::Status& status : {CheckAbilities(host.find_cuda_devices != nullptr),
                                     ReadAddresses(options), ReadNames(options), ReadNumbers(options)}) {
    if (!status.ok()) return status;
  }
  if (options.cpu_threads == 0) options.cpu_threads = host.cpus;
  if (options.polling_threads == 0) options.polling_threads = std::max(1, host.cpus / 8);
  if (absl::Status status = FindDevices(host, options); !status.ok()) return status;
  absl::Status planned = PlanMemory(host, options);
  if (!planned.ok() && options.backend == Backend::kAuto && !options.cuda_devices.empty()) {
    options.warnings.push_back(absl::StrCat("no CUDA device serves: ", planned.message()));
    options.cuda_devices.clear();
    planned = PlanMemory(host, options);
  }
  if (!planned.ok()) return planned;
  if (absl::Status status = ReadSecurityFlags(options); !status.ok()) return status;
  return options;
}

}  // namespace kldiv::server
