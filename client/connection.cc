#include "client/connection.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/impl/client_unary_call.h>

#include <climits>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/grpc_status.h"
#include "client/messages.h"
#include "client/service_config.h"

namespace kldiv::internal {
namespace {

using grpc::internal::RpcMethod;

constexpr int kKeepaliveTimeMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 5'000;
// gRPC's own are 1 s and two minutes: a server that is back would be waited for.
constexpr int kFirstReconnectMs = 100;
constexpr int kMaxReconnectMs = 1'000;
// gRPC's own is 30 s. It looks a name up when a connection to one of its servers ends.
constexpr int kMinTimeBetweenResolutionsMs = 1'000;
constexpr std::chrono::milliseconds kAttention{100};  // A client that goes may have to wait so long.

grpc::ChannelArguments ChannelArguments(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // An answer of pointwise losses is as large as the request.
  arguments.SetMaxSendMessageSize(-1);     // The server's limit is checked here, with a better text.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // Else the pings stop after two.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, kMinTimeBetweenResolutionsMs);
  arguments.SetServiceConfigJSON(ServiceConfig(options.retry, NamesSeveralServers(options.server)));
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, options.retry ? 1 : 0);
  // Else no message over 256 KiB is tried again.
  arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, INT_MAX);
  // A connection for each client, which ends with it.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (IsLocal(options.server)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

}  // namespace

Deadline DeadlineAfter(std::chrono::nanoseconds timeout) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(timeout.count(), GPR_TIMESPAN));
}

absl::StatusOr<std::shared_ptr<Connection>> Connection::Create(ClientOptions options) {
  if (options.server.empty()) {
    return absl::InvalidArgumentError(
        "ClientOptions.server is empty, expected host:port, dns:///name:port or unix:/path");
  }
  if (options.default_timeout <= std::chrono::nanoseconds(0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "ClientOptions.default_timeout is ", options.default_timeout.count(), " ns, expected more than 0"));
  }
  const absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> credentials =
      MakeChannelCredentials(options);
  if (!credentials.ok()) return credentials.status();
  std::unique_ptr<TokenFile> token;
  if (!options.token_file.empty()) {
    absl::StatusOr<std::unique_ptr<TokenFile>> opened = TokenFile::Open(options.token_file);
    if (!opened.ok()) return opened.status();
    token = *std::move(opened);
  }
  std::shared_ptr<grpc::Channel> channel =
      grpc::CreateCustomChannel(options.server, *credentials, ChannelArguments(options));
  return std::make_shared<Connection>(std::move(options), std::move(channel), std::move(token));
}

Connection::Connection(ClientOptions options, std::shared_ptr<grpc::Channel> channel,
                       std::unique_ptr<TokenFile> token)
    : options_(std::move(options)),
      channel_(std::move(channel)),
      token_(std::move(token)),
      evaluate_("/kldiv.v1.KlDivergence/Evaluate", RpcMethod::NORMAL_RPC, channel_),
      evaluate_batch_("/kldiv.v1.KlDivergence/EvaluateBatch", RpcMethod::NORMAL_RPC, channel_),
      evaluate_stream_("/kldiv.v1.KlDivergence/EvaluateStream", RpcMethod::BIDI_STREAMING, channel_),
      get_server_info_("/kldiv.v1.KlDivergence/GetServerInfo", RpcMethod::NORMAL_RPC, channel_),
      health_check_("/grpc.health.v1.Health/Check", RpcMethod::NORMAL_RPC, channel_) {}

absl::StatusOr<std::chrono::nanoseconds> Connection::Timeout(const CallOptions& call) const {
  const std::chrono::nanoseconds timeout = call.timeout.value_or(options_.default_timeout);
  if (timeout <= std::chrono::nanoseconds(0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("CallOptions.timeout is ", timeout.count(), " ns, expected more than 0"));
  }
  return timeout;
}

absl::Status Connection::Call(const RpcMethod& method, const wire::Parts& request, Deadline deadline,
                              grpc::ByteBuffer& response) {
  LentMemory memory;
  absl::Status status;
  {
    // Both may hold on to the request's slices and go before the wait.
    const grpc::ByteBuffer message = ToByteBuffer(request, memory);
    grpc::ClientContext context;
    context.set_deadline(deadline);
    Authorize(Authorization(), context);
    status = FromGrpcStatus(grpc::internal::BlockingUnaryCall<grpc::ByteBuffer, grpc::ByteBuffer>(
                                channel_.get(), method, &context, message, &response),
                            context);
  }
  WaitUntilReturned(memory);
  CallEnded(status);
  return status;
}

absl::StatusOr<ServerInfo> Connection::FetchServerInfo(Deadline deadline) {
  grpc::ByteBuffer response;
  if (absl::Status status = Call(get_server_info_, wire::Parts{}, deadline, response); !status.ok())
    return status;
  absl::StatusOr<ServerInfo> info = ParseServerInfo(response);
  if (info.ok()) LearnLimit(*info);
  return info;
}

absl::Status Connection::CheckSize(int64_t bytes, Deadline deadline) {
  if (!KnowsLimitFor(bytes)) {
    if (const absl::StatusOr<ServerInfo> info = FetchServerInfo(deadline); !info.ok()) return info.status();
  }
  return CheckAgainstLimit(bytes);
}

bool Connection::KnowsLimitFor(int64_t bytes) const {
  if (bytes <= kAlwaysAllowedBytes) return true;
  const std::lock_guard lock(mu_);
  return max_message_bytes_ > 0;
}

void Connection::LearnLimit(const ServerInfo& info) {
  const std::lock_guard lock(mu_);
  // A server that names none leaves the refusal to itself.
  max_message_bytes_ = info.max_message_bytes > 0 ? info.max_message_bytes : INT64_MAX;
}

absl::Status Connection::CheckAgainstLimit(int64_t bytes) const {
  const std::lock_guard lock(mu_);
  if (max_message_bytes_ == 0 || bytes <= max_message_bytes_) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the message has ", bytes,
                                                 " bytes, the server takes at most ", max_message_bytes_,
                                                 " (its flag --max_message_bytes)"));
}

void Connection::WaitUntilReturned(LentMemory& memory) {
  if (memory.all_returned()) return;
  completion_thread();  // Serves the socket on which the memory is being written.
  memory.WaitUntilReturned();
}

CompletionThread& Connection::completion_thread() {
  const std::lock_guard lock(mu_);
  if (completion_thread_ == nullptr) completion_thread_ = std::make_unique<CompletionThread>();
  return *completion_thread_;
}

void Connection::CallEnded(const absl::Status& status) {
  if (!absl::IsUnavailable(status)) return;
  grpc::CompletionQueue& queue = completion_thread().queue();
  const std::lock_guard lock(mu_);
  if (attending_) return;
  attending_ = true;
  channel_->NotifyOnStateChange(channel_->GetState(/*try_to_connect=*/true), DeadlineAfter(kAttention),
                                &queue, static_cast<CompletionTag*>(&attention_));
}

void Connection::Attention::Proceed(bool) {
  const std::lock_guard lock(connection_.mu_);
  connection_.attending_ = false;
}

}  // namespace kldiv::internal
