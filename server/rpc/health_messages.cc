#include "server/rpc/health_messages.h"

#include "absl/strings/str_cat.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

namespace kldiv::server {
namespace {

constexpr size_t kMaxServiceNameBytes = 1024;
constexpr uint32_t kServiceField = 1;  // of HealthCheckRequest
constexpr uint32_t kStatusField = 1;   // of HealthCheckResponse

}  // namespace

HealthStatus HealthOf(std::string_view service, ServicePhase phase) {
  if (!service.empty() && service != "kldiv.v1.KlDivergence") return HealthStatus::kServiceUnknown;
  return phase == ServicePhase::kServing ? HealthStatus::kServing : HealthStatus::kNotServing;
}

absl::StatusOr<std::string> DecodeHealthCheckRequest(std::span<const wire::Slice> slices) {
  wire::Reader reader(slices);
  const auto undecodable = [&reader] {
    return absl::InvalidArgumentError(absl::StrCat("the message cannot be decoded: ", reader.Error()));
  };
  std::string service;
  while (!reader.AtEnd()) {
    uint32_t tag = 0;
    if (!reader.ReadTag(&tag)) return undecodable();
    if (tag != wire::Tag(kServiceField, wire::WireType::kLengthDelimited)) {
      if (!reader.SkipField(tag)) return undecodable();
      continue;
    }
    size_t length = 0;
    if (!reader.ReadLength(&length)) return undecodable();
    if (length > kMaxServiceNameBytes) {
      return absl::InvalidArgumentError(absl::StrCat("a service name of ", length, " bytes, at most ",
                                                     kMaxServiceNameBytes, " were expected"));
    }
    wire::ByteCursor cursor(reader.ReadBytes(length));
    service.resize(length);
    cursor.Copy(length, service.data());
  }
  return service;
}

Answer EncodeHealthCheckResponse(HealthStatus status) {
  const auto number = static_cast<uint64_t>(status);
  Answer answer;
  wire::Writer(wire::VarintFieldLength(kStatusField, number), answer.parts).VarintField(kStatusField, number);
  return answer;
}

}  // namespace kldiv::server
