#ifndef KLDIV_SERVER_RPC_HEALTH_MESSAGES_H_
#define KLDIV_SERVER_RPC_HEALTH_MESSAGES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "proto/wire/slices.h"
#include "server/rpc/service_phase.h"
#include "server/rpc/transport.h"

// grpc.health.v1, as far as this server speaks it.
namespace kldiv::server {

// The numbers are those of HealthCheckResponse.ServingStatus.
enum class HealthStatus : uint8_t { kUnknown = 0, kServing = 1, kNotServing = 2, kServiceUnknown = 3 };

// Of the whole server (""), of "kldiv.v1.KlDivergence", or kServiceUnknown.
HealthStatus HealthOf(std::string_view service, ServicePhase phase);

// The service that a HealthCheckRequest asks for. INVALID_ARGUMENT: undecodable, or a name of absurd length.
absl::StatusOr<std::string> DecodeHealthCheckRequest(std::span<const wire::Slice> slices);

Answer EncodeHealthCheckResponse(HealthStatus status);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_HEALTH_MESSAGES_H_
