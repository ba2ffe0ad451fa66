#ifndef KLDIV_SERVER_OPTIONS_H_
#define KLDIV_SERVER_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/cuda/cuda_devices.h"
#include "server/host.h"
#include "server/net/listen_address.h"
#include "server/observability/log.h"
#include "server/security/certificates.h"
#include "server/security/tokens.h"

namespace kldiv::server {

// What a stream may have sent that nobody has asked for yet; each connection is charged one.
inline constexpr int64_t kStreamWindowBytes = 64 << 10;

// The process itself: code, threads and heap that no other budget counts.
inline constexpr int64_t kBaseBytes = 120 << 20;

// Who computes.
enum class Backend {
  kAuto,  // CPU lanes, and CUDA lanes where devices work
  kCpu,
  kCuda,  // CUDA lanes alone
};

// What the server is told, complete and valid: no zero stands for a default any more.
struct ServerOptions {
  std::vector<ListenAddress> listen;            // at least one
  std::optional<ListenAddress> metrics_listen;  // TCP; nullopt: off
  std::optional<ListenAddress> health_listen;   // nullopt: off

  Backend backend = Backend::kAuto;
  int cpu_threads = 1;  // with kCuda of no meaning
  int polling_threads = 1;

  // Devices that work; none with kCpu, at least one with kCuda.
  std::vector<cuda::Device> cuda_devices;
  int cuda_lanes = 1;  // of each device
  int64_t cuda_min_batch_elements = 0;
  // Called once, on some thread, when every lane has been lost with its device: everything is answered
  // UNAVAILABLE from then on, and the server should be drained. Not a flag's.
  std::function<void()> on_no_lane_left;

  // All in bytes. max_memory covers max_queue_bytes, max_connections windows, kBaseBytes, the buffers of CUDA
  // lanes, and read_grants messages of max_message_bytes, which are read at a time.
  int64_t max_memory = 0;
  int64_t max_message_bytes = 0;  // at most 2^31-1
  int64_t max_queue_bytes = 0;
  int64_t max_batch_bytes = 0;
  int max_connections = 1;     // fits the limit of open files
  int health_connections = 1;  // of health_listen; likewise
  int read_grants = 1;

  int max_pairs_per_message = 1;
  int max_in_flight_per_stream = 1;

  std::chrono::milliseconds read_timeout{};        // more than 0
  std::chrono::milliseconds write_timeout{};       // more than 0
  std::chrono::milliseconds max_connection_age{};  // 0: none
  std::chrono::milliseconds drain_delay{};
  std::chrono::milliseconds drain_timeout{};  // 0: what is not answered at once is lost

  std::shared_ptr<Certificates> certificates;  // null: plaintext
  std::shared_ptr<Tokens> tokens;              // null: clients need none

  LogFormat log_format = LogFormat::kAuto;
  bool check_config = false;  // validate alone

  std::vector<std::string> warnings;  // for the log: what was asked for and cannot be kept
};

// The flags' values, with the defaults that depend on `host`.
//
// INVALID_ARGUMENT: bad usage (exit code 2). FAILED_PRECONDITION: the server cannot start like this (exit
// code 1). The messages name the flag and the value.
absl::StatusOr<ServerOptions> OptionsFromFlags(const Host& host);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_OPTIONS_H_
