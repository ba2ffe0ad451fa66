#include "server/rpc/info_calls.h"

#include <utility>

#include "absl/status/statusor.h"
#include "proto/wire/decode.h"
#include "proto/wire/writer.h"
#include "server/numerics/formula.h"
#include "server/rpc/health_messages.h"
#include "server/rpc/status_texts.h"
#include "server/rpc/unary_call.h"

namespace kldiv::server {
namespace {

class ServerInfoCall final : public UnaryCall {
 public:
  ServerInfoCall(ServiceContext& context, Call& call, Pass pass, const std::string& server_info)
      : UnaryCall(context, call, std::move(pass)), server_info_(server_info) {}

 private:
  void Serve(Message message) override {
    const absl::Status status = wire::DecodeGetServerInfoRequest(message.slices());
    ReleaseGate(static_cast<int64_t>(std::exchange(message, {}).size()));
    if (!status.ok()) return call_.Finish(status);
    Answer answer;
    answer.parts.owned = server_info_;
    call_.Finish(std::move(answer));
  }

  const std::string& server_info_;
};

class HealthCheckCall final : public UnaryCall {
 public:
  HealthCheckCall(ServiceContext& context, Call& call, Pass pass)
      : UnaryCall(context, call, std::move(pass), ReaderKind::kProbe) {}

 private:
  void Serve(Message message) override {
    const absl::StatusOr<std::string> service = DecodeHealthCheckRequest(message.slices());
    ReleaseGate(static_cast<int64_t>(std::exchange(message, {}).size()));
    if (!service.ok()) return call_.Finish(service.status());
    const HealthStatus health = HealthOf(*service, context_.phase.load());
    if (health == HealthStatus::kServiceUnknown) return call_.Finish(UnknownHealthService(*service));
    call_.Finish(EncodeHealthCheckResponse(health));
  }
};

}  // namespace

std::string EncodeServerInfo(const ServiceOptions& options) {
  using wire::BytesFieldLength;
  using wire::VarintFieldLength;
  enum Field : uint32_t {
    kVersion = 1,
    kBackend,
    kDevices,
    kMaxMessageBytes,
    kMaxQueueBytes,
    kNumericsVersion,
    kMaxPairsPerMessage,
    kMaxDimensions,
    kMaxInFlightPerStream,
    kFeatures,
  };
  const std::pair<Field, int64_t> numbers[] = {
      {kMaxMessageBytes, options.max_message_bytes},
      {kMaxQueueBytes, options.max_queue_bytes},
      {kNumericsVersion, numerics::kNumericsVersion},
      {kMaxPairsPerMessage, options.max_pairs_per_message},
      {kMaxDimensions, wire::kMaxDimensions},
      {kMaxInFlightPerStream, options.max_in_flight_per_stream},
  };
  std::vector<std::pair<Field, std::string_view>> texts;
  if (!options.version.empty()) texts.emplace_back(kVersion, options.version);
  if (!options.backend.empty()) texts.emplace_back(kBackend, options.backend);
  for (const std::string& device : options.devices) texts.emplace_back(kDevices, device);
  for (const std::string& feature : options.features) texts.emplace_back(kFeatures, feature);

  size_t length = 0;
  for (const auto& [field, value] : numbers) length += VarintFieldLength(field, static_cast<uint64_t>(value));
  for (const auto& [field, text] : texts) length += BytesFieldLength(field, text.size());
  wire::Parts parts;
  {
    wire::Writer writer(length, parts);
    for (const auto& [field, value] : numbers) writer.VarintField(field, static_cast<uint64_t>(value));
    for (const auto& [field, text] : texts) {
      writer.BytesHeader(field, text.size());
      writer.Bytes(text);
    }
  }
  return std::move(parts.owned);
}

std::unique_ptr<CallHandler> StartServerInfoCall(ServiceContext& context, Call& call, Pass pass,
                                                 const std::string& server_info) {
  auto handler = std::make_unique<ServerInfoCall>(context, call, std::move(pass), server_info);
  handler->Start();
  return handler;
}

std::unique_ptr<CallHandler> StartHealthCheckCall(ServiceContext& context, Call& call, Pass pass) {
  auto handler = std::make_unique<HealthCheckCall>(context, call, std::move(pass));
  handler->Start();
  return handler;
}

}  // namespace kldiv::server
