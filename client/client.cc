#include "client/include/kldiv/client.h"

#include <utility>

#include "client/async_call.h"
#include "client/connection.h"
#include "client/messages.h"
#include "client/stream.h"

namespace kldiv {
namespace {

using internal::AsyncCall;
using internal::AsyncCalls;
using internal::Connection;
using internal::DeadlineAfter;

class GrpcClient : public Client {
 public:
  explicit GrpcClient(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

  absl::StatusOr<Evaluation> Evaluate(const Pair& pair, const CallOptions& options) override {
    grpc::ByteBuffer response;
    absl::Status status =
        Call(connection_->evaluate(), internal::EncodePair(pair, /*request_id=*/0, /*timeout_ns=*/0), options,
             response);
    if (!status.ok()) return status;
    return internal::ParseEvaluateResponse(response);
  }

  void EvaluateAsync(const Pair& pair, const CallOptions& options,
                     std::function<void(absl::StatusOr<Evaluation>)> done) override {
    const absl::StatusOr<std::chrono::nanoseconds> timeout = connection_->Timeout(options);
    if (!timeout.ok()) return done(timeout.status());
    StartCall(connection_->evaluate(), internal::EncodePair(pair, /*request_id=*/0, /*timeout_ns=*/0),
              *timeout, [done = std::move(done)](absl::Status status, grpc::ByteBuffer& response) {
                if (!status.ok()) return done(std::move(status));
                done(internal::ParseEvaluateResponse(response));
              });
  }

  std::future<absl::StatusOr<Evaluation>> EvaluateFuture(const Pair& pair,
                                                         const CallOptions& options) override {
    // std::function wants to be copied, which a promise cannot.
    auto promise = std::make_shared<std::promise<absl::StatusOr<Evaluation>>>();
    std::future<absl::StatusOr<Evaluation>> future = promise->get_future();
    EvaluateAsync(pair, options, [promise = std::move(promise)](absl::StatusOr<Evaluation> result) {
      promise->set_value(std::move(result));
    });
    return future;
  }

  absl::StatusOr<std::vector<absl::StatusOr<Evaluation>>> EvaluateBatch(std::span<const Pair> pairs,
                                                                        const CallOptions& options) override {
    grpc::ByteBuffer response;
    absl::Status status =
        Call(connection_->evaluate_batch(), internal::EncodePairs(pairs), options, response);
    if (!status.ok()) return status;
    return internal::ParseEvaluateBatchResponse(response, pairs.size());
  }

  void EvaluateBatchAsync(
      std::span<const Pair> pairs, const CallOptions& options,
      std::function<void(absl::StatusOr<std::vector<absl::StatusOr<Evaluation>>>)> done) override {
    const absl::StatusOr<std::chrono::nanoseconds> timeout = connection_->Timeout(options);
    if (!timeout.ok()) return done(timeout.status());
    StartCall(
        connection_->evaluate_batch(), internal::EncodePairs(pairs), *timeout,
        [done = std::move(done), count = pairs.size()](absl::Status status, grpc::ByteBuffer& response) {
          if (!status.ok()) return done(std::move(status));
          done(internal::ParseEvaluateBatchResponse(response, count));
        });
  }

  absl::StatusOr<std::unique_ptr<Stream>> OpenStream(const CallOptions& options) override {
    if (!options.timeout.has_value()) return internal::MakeStream(connection_, std::nullopt);
    const absl::StatusOr<std::chrono::nanoseconds> timeout = connection_->Timeout(options);
    if (!timeout.ok()) return timeout.status();
    return internal::MakeStream(connection_, DeadlineAfter(*timeout));
  }

  absl::StatusOr<ServerInfo> GetServerInfo(const CallOptions& options) override {
    const absl::StatusOr<std::chrono::nanoseconds> timeout = connection_->Timeout(options);
    if (!timeout.ok()) return timeout.status();
    return connection_->FetchServerInfo(DeadlineAfter(*timeout));
  }

  absl::StatusOr<Health> CheckHealth(const CallOptions& options) override {
    // An empty HealthCheckRequest asks for the server as a whole.
    grpc::ByteBuffer response;
    absl::Status status = Call(connection_->health_check(), wire::Parts{}, options, response);
    if (!status.ok()) return status;
    return internal::ParseHealth(response);
  }

 private:
  absl::Status Call(const grpc::internal::RpcMethod& method, const wire::Parts& request,
                    const CallOptions& options, grpc::ByteBuffer& response) {
    const absl::StatusOr<std::chrono::nanoseconds> timeout = connection_->Timeout(options);
    if (!timeout.ok()) return timeout.status();
    const internal::Deadline deadline = DeadlineAfter(*timeout);
    absl::Status status = connection_->CheckSize(static_cast<int64_t>(request.size()), deadline);
    if (!status.ok()) return status;
    return connection_->Call(method, request, deadline, response);
  }

  void StartCall(const grpc::internal::RpcMethod& method, wire::Parts message,
                 std::chrono::nanoseconds timeout, AsyncCall::Done done) {
    auto* const call = new AsyncCall(calls_, *connection_, method, std::move(message), DeadlineAfter(timeout),
                                     std::move(done));
    call->Start();  // It owns itself from here.
  }

  const std::shared_ptr<Connection> connection_;
  AsyncCalls calls_;  // goes first, and with it all that uses the connection's thread
};

}  // namespace

Reduction FromLegacy(std::optional<bool> size_average, std::optional<bool> reduce) {
  if (!reduce.value_or(true)) return Reduction::kNone;
  return size_average.value_or(true) ? Reduction::kMean : Reduction::kSum;
}

absl::StatusOr<std::unique_ptr<Client>> Client::Create(ClientOptions options) {
  absl::StatusOr<std::shared_ptr<Connection>> connection = Connection::Create(std::move(options));
  if (!connection.ok()) return connection.status();
  return std::make_unique<GrpcClient>(*std::move(connection));
}

}  // namespace kldiv
