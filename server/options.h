#ifndef KLDIV_SERVER_OPTIONS_H_
#define KLDIV_SERVER_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/host.h"
#include "server/net/listen_address.h"
#include "server/observability/log.h"

namespace kldiv::server {

// What a stream may have sent that nobody has asked for yet; each connection is charged one.
inline constexpr int64_t kStreamWindowBytes = 64 << 10;

// The process itself: code, threads and heap that no other budget counts.
inline constexpr int64_t kBaseBytes = 120 << 20;

// What the server is told, complete and valid: no zero stands for a default any more.
struct ServerOptions {
  std::vector<ListenAddress> listen;            // at least one
  std::optional<ListenAddress> metrics_listen;  // TCP; nullopt: off

  int cpu_threads = 1;
  int polling_threads = 1;

  // All in bytes. max_memory covers max_queue_bytes, max_connections windows, kBaseBytes, and read_grants
  // messages of max_message_bytes, which are read at a time.
  int64_t max_memory = 0;
  int64_t max_message_bytes = 0;  // at most 2^31-1
  int64_t max_queue_bytes = 0;
  int64_t max_batch_bytes = 0;
  int max_connections = 1;  // fits the limit of open files
  int read_grants = 1;

  int max_pairs_per_message = 1;
  int max_in_flight_per_stream = 1;

  std::chrono::milliseconds read_timeout{};   // more than 0
  std::chrono::milliseconds write_timeout{};  // more than 0
  std::chrono::milliseconds drain_timeout{};  // 0: what is not answered at once is lost

  LogFormat log_format = LogFormat::kAuto;

  std::vector<std::string> warnings;  // for the log: what was asked for and cannot be kept
};

// The flags' values, with the defaults that depend on `host`.
//
// INVALID_ARGUMENT: bad usage (exit code 2). FAILED_PRECONDITION: the server cannot start like this (exit
// code 1). The messages name the flag and the value.
absl::StatusOr<ServerOptions> OptionsFromFlags(const Host& host);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_OPTIONS_H_
