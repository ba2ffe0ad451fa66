#include "server/flags.h"

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/str_cat.h"

using kldiv::base::ByteSize;

ABSL_FLAG(
    std::string, listen, "127.0.0.1:50051",
    "Addresses to serve on, separated by commas: HOST:PORT, [IPV6]:PORT, or unix:PATH for a socket that only "
    "this user may open. Port 0 takes any free one.");
ABSL_FLAG(std::string, metrics_listen, "127.0.0.1:9464",
          "HOST:PORT that shows metrics to Prometheus at /metrics; empty: off.");
ABSL_FLAG(
    std::string, health_listen, "",
    "HOST:PORT, [IPV6]:PORT or unix:PATH of a plaintext listener with health checks alone, which answers "
    "until the end; empty: off.");

ABSL_FLAG(std::string, backend, "auto",
          "auto: the CPU, and CUDA devices too where the build has CUDA and a device works; cpu; cuda: CUDA "
          "alone.");
ABSL_FLAG(
    int32_t, cpu_threads, 0,
    "Threads that compute; 0: as many as the process's affinity and its control group's cpu.max allow.");
ABSL_FLAG(int32_t, polling_threads, 0,
          "Threads that serve connections; 0: an eighth of the cores, at least 1.");
ABSL_FLAG(std::string, cuda_devices, "all",
          "CUDA devices to use: all, or their numbers, separated by commas.");
ABSL_FLAG(int32_t, cuda_lanes, 3, "Batches under way at a time on each CUDA device.");
ABSL_FLAG(int64_t, cuda_min_batch_elements, 65536,
          "Batches of fewer elements stay on the CPU, where it serves.");

ABSL_FLAG(
    ByteSize, max_memory, ByteSize{0},
    "Peak memory of the process; 0: three quarters of its control group's limit, or half of the machine's "
    "memory where there is none. What the queue, the connections and the process itself leave of it bounds "
    "how many messages are read at a time.");
ABSL_FLAG(ByteSize, max_message_bytes, ByteSize{64 << 20},
          "Largest message to accept, at most 2^31-1 bytes.");
ABSL_FLAG(ByteSize, max_queue_bytes, ByteSize{0},
          "Bytes of accepted and unanswered work, answers included; beyond it requests are refused with "
          "RESOURCE_EXHAUSTED. 0: 256MiB, but at most a quarter of --max_memory.");
ABSL_FLAG(ByteSize, max_batch_bytes, ByteSize{32 << 20}, "Bytes of tensors that one batch holds.");
ABSL_FLAG(int32_t, max_connections, 0,
          "Connections open at a time; a further one takes the place of the longest-silent one of the peer "
          "that has the "
          "most, or is closed at once. 0: 4096, but no more than an eighth of --max_memory at 64KiB each.");
ABSL_FLAG(int32_t, max_pairs_per_message, 65536, "Pairs that one EvaluateBatch message may hold.");
ABSL_FLAG(int32_t, max_in_flight_per_stream, 256,
          "Pairs of one stream that are accepted and not yet answered; at that many its reading pauses.");

ABSL_FLAG(absl::Duration, read_timeout, absl::Seconds(30),
          "Time that a message may take from being let in to being complete.");
ABSL_FLAG(absl::Duration, write_timeout, absl::Seconds(30),
          "Time that a client may take to accept an answer.");
ABSL_FLAG(
    absl::Duration, max_connection_age, absl::ZeroDuration(),
    "Connections older than this are asked to reconnect, so that balancers see them anew; calls that are "
    "open then have 30s. 0: never.");
ABSL_FLAG(absl::Duration, drain_delay, absl::ZeroDuration(),
          "After SIGTERM, time to serve on while health checks already say NOT_SERVING.");
ABSL_FLAG(absl::Duration, drain_timeout, absl::Seconds(30),
          "After SIGTERM, time for accepted work to be answered; then the program ends with 3.");

ABSL_FLAG(
    std::string, tls_cert, "",
    "PEM file with the server's certificate, followed by those of its issuers; every TCP address of --listen "
    "then speaks TLS. Read again when it changes, as are the other files here. Empty: plaintext.");
ABSL_FLAG(std::string, tls_key, "", "PEM file with the certificate's private key.");
ABSL_FLAG(std::string, tls_client_ca, "",
          "PEM file with the authorities whose certificates clients must show; empty: they need none.");
ABSL_FLAG(
    std::string, token_file, "",
    "File with the tokens of which clients must show one, NAME:TOKEN or NAME:sha256:HEX on each line; empty: "
    "they need none.");
ABSL_FLAG(bool, allow_plaintext_tokens, false,
          "Take tokens even where --listen sends them over a network without TLS.");

ABSL_FLAG(std::string, log_format, "auto", "text, json, or auto: text on a terminal, otherwise JSON.");
ABSL_FLAG(
    bool, check_config, false,
    "Validate the configuration without serving: 0 when it is good, 1 when the server could not start with "
    "it, 2 after bad usage.");

namespace kldiv::server {
namespace {

struct MissingAbility {
  absl::string_view flag;
  absl::string_view sentence;
};
constexpr MissingAbility kMissingWithoutCuda[] = {
    {"cuda_devices", "this build has no CUDA"},
    {"cuda_lanes", "this build has no CUDA"},
    {"cuda_min_batch_elements", "this build has no CUDA"},
};

absl::Status CheckAtDefault(std::span<const MissingAbility> abilities) {
  for (const MissingAbility& missing : abilities) {
    const absl::CommandLineFlag* const flag = absl::FindCommandLineFlag(missing.flag);
    if (flag->CurrentValue() == flag->DefaultValue()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--", missing.flag, "=", flag->CurrentValue(), ": ", missing.sentence));
  }
  return absl::OkStatus();
}

}  // namespace

std::span<const base::FlagGroup> ServerFlagGroups() {
  static const auto& groups = *new std::vector<base::FlagGroup>{
      {"Addresses", {"listen", "metrics_listen", "health_listen"}},
      {"Computing",
       {"backend", "cpu_threads", "polling_threads", "cuda_devices", "cuda_lanes",
        "cuda_min_batch_elements"}},
      {"Memory and limits",
       {"max_memory", "max_message_bytes", "max_queue_bytes", "max_batch_bytes", "max_connections",
        "max_pairs_per_message", "max_in_flight_per_stream"}},
      {"Time", {"read_timeout", "write_timeout", "max_connection_age", "drain_delay", "drain_timeout"}},
      {"Security", {"tls_cert", "tls_key", "tls_client_ca", "token_file", "allow_plaintext_tokens"}},
      {"Operation", {"log_format", "check_config"}},
  };
  return groups;
}

absl::Status CheckAbilities(bool has_cuda) {
  return has_cuda ? absl::OkStatus() : CheckAtDefault(kMissingWithoutCuda);
}

}  // namespace kldiv::server
