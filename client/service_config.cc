#include "client/service_config.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/retry.h"

namespace kldiv::internal {
namespace {

// The throttle is gRPC's retry budget: each failure costs a token, each answer gives a tenth back, and with
// half of them gone nothing is tried again, so that a server in trouble is not sent several times its load.
// So many, gRPC's most, because all calls that wait for a machine fail together once it is found to be gone.
std::string Retries() {
  return absl::StrFormat(
      R"(
  "methodConfig": [{
    "name": [{"service": "kldiv.v1.KlDivergence", "method": "Evaluate"},
             {"service": "kldiv.v1.KlDivergence", "method": "EvaluateBatch"},
             {"service": "kldiv.v1.KlDivergence", "method": "GetServerInfo"}],
    "retryPolicy": {
      "maxAttempts": %d, "initialBackoff": "%gs", "maxBackoff": "%gs", "backoffMultiplier": %g,
      "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"]
    }
  }],
  "retryThrottling": {"maxTokens": 1000, "tokenRatio": 0.1})",
      kMaxAttempts, kFirstPauseSeconds, kMaxPauseSeconds, kPauseGrowth);
}

constexpr char kBalancing[] = R"(
  "loadBalancingConfig": [{"round_robin": {}}],
  "healthCheckConfig": {"serviceName": "kldiv.v1.KlDivergence"})";

}  // namespace

bool NamesSeveralServers(std::string_view server) {
  return server.starts_with("dns:") || server.starts_with("ipv4:") || server.starts_with("ipv6:");
}

std::string ServiceConfig(bool retry, bool balance) {
  return absl::StrCat("{", retry ? Retries() : "", retry && balance ? "," : "", balance ? kBalancing : "",
                      "\n}");
}

}  // namespace kldiv::internal
