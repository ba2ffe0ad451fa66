#ifndef KLDIV_SERVER_RPC_SERVICE_OPTIONS_H_
#define KLDIV_SERVER_RPC_SERVICE_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "server/security/tokens.h"

namespace kldiv::server {

// What the service is told by the server's flags and its hardware. Validated by who fills it in.
struct ServiceOptions {
  int64_t max_message_bytes = 64 << 20;
  int64_t max_queue_bytes = 256 << 20;  // the budget that Admission was made with
  int64_t max_pairs_per_message = 65536;
  int max_in_flight_per_stream = 256;

  int64_t max_health_calls = 4096;  // open at a time; a client has fewer than are free, and one more

  int read_grants = 1;  // messages of the largest size that may be under way at once, at least 1
  std::chrono::milliseconds read_timeout{30'000};

  int inline_tiles = 4;  // a message of at most this many tiles is computed where it was received; 0: none is

  // Calls other than those of health need one of these; null: they need none. Outlives the service.
  const Replaceable<TokenSet>* tokens = nullptr;

  // For GetServerInfo.
  std::string version;
  std::string backend = "cpu";
  std::vector<std::string> devices;
  std::vector<std::string> features;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_SERVICE_OPTIONS_H_
