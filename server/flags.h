#ifndef KLDIV_SERVER_FLAGS_H_
#define KLDIV_SERVER_FLAGS_H_

#include <cstdint>
#include <span>
#include <string>

#include "absl/flags/declare.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/command_line.h"

// The server's flags, as the contract lists them. Only options.cc and security_options.cc read them.
ABSL_DECLARE_FLAG(std::string, listen);
ABSL_DECLARE_FLAG(std::string, metrics_listen);
ABSL_DECLARE_FLAG(std::string, health_listen);
ABSL_DECLARE_FLAG(std::string, backend);
ABSL_DECLARE_FLAG(int32_t, cpu_threads);
ABSL_DECLARE_FLAG(int32_t, polling_threads);
ABSL_DECLARE_FLAG(std::string, cuda_devices);
ABSL_DECLARE_FLAG(int32_t, cuda_lanes);
ABSL_DECLARE_FLAG(int64_t, cuda_min_batch_elements);
ABSL_DECLARE_FLAG(kldiv::base::ByteSize, max_memory);
ABSL_DECLARE_FLAG(kldiv::base::ByteSize, max_message_bytes);
ABSL_DECLARE_FLAG(kldiv::base::ByteSize, max_queue_bytes);
ABSL_DECLARE_FLAG(kldiv::base::ByteSize, max_batch_bytes);
ABSL_DECLARE_FLAG(int32_t, max_connections);
ABSL_DECLARE_FLAG(int32_t, max_pairs_per_message);
ABSL_DECLARE_FLAG(int32_t, max_in_flight_per_stream);
ABSL_DECLARE_FLAG(absl::Duration, read_timeout);
ABSL_DECLARE_FLAG(absl::Duration, write_timeout);
ABSL_DECLARE_FLAG(absl::Duration, max_connection_age);
ABSL_DECLARE_FLAG(absl::Duration, drain_delay);
ABSL_DECLARE_FLAG(absl::Duration, drain_timeout);
ABSL_DECLARE_FLAG(std::string, tls_cert);
ABSL_DECLARE_FLAG(std::string, tls_key);
ABSL_DECLARE_FLAG(std::string, tls_client_ca);
ABSL_DECLARE_FLAG(std::string, token_file);
ABSL_DECLARE_FLAG(bool, allow_plaintext_tokens);
ABSL_DECLARE_FLAG(std::string, log_format);
ABSL_DECLARE_FLAG(bool, check_config);

namespace kldiv::server {

// All of them under headings, for --help.
std::span<const base::FlagGroup> ServerFlagGroups();

// INVALID_ARGUMENT when a flag whose ability this version, or a build without CUDA, does not have is not at
// its default: the sentence names the flag and the ability.
absl::Status CheckAbilities(bool has_cuda);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_FLAGS_H_
