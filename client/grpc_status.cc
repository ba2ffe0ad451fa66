#include "client/grpc_status.h"

#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/include/kldiv/client.h"

namespace kldiv {
namespace {

constexpr char kRetryAfterMs[] = "kldiv.v1/retry_after_ms";

}  // namespace

std::optional<std::chrono::milliseconds> RetryAfter(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kRetryAfterMs);
  int64_t milliseconds = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &milliseconds)) return std::nullopt;
  return std::chrono::milliseconds(milliseconds);
}

namespace internal {

void SetRetryAfter(int64_t milliseconds, absl::Status& status) {
  if (milliseconds > 0) status.SetPayload(kRetryAfterMs, absl::Cord(absl::StrCat(milliseconds)));
}

absl::Status FromGrpcStatus(const grpc::Status& status, const grpc::ClientContext& context) {
  if (status.ok()) return absl::OkStatus();
  // gRPC's codes are Abseil's.
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  const auto& trailers = context.GetServerTrailingMetadata();
  if (const auto found = trailers.find("grpc-retry-pushback-ms"); found != trailers.end()) {
    const std::string text(found->second.data(), found->second.size());
    int64_t milliseconds = 0;
    if (absl::SimpleAtoi(text, &milliseconds)) SetRetryAfter(milliseconds, result);
  }
  return result;
}

}  // namespace internal
}  // namespace kldiv
