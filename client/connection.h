#ifndef KLDIV_CLIENT_CONNECTION_H_
#define KLDIV_CLIENT_CONNECTION_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/impl/rpc_method.h>
#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/completion_thread.h"
#include "client/credentials.h"
#include "client/include/kldiv/client.h"
#include "client/lent_memory.h"
#include "proto/wire/encode.h"

namespace kldiv::internal {

// gRPC's own clock, in which deadlines are given.
using Deadline = gpr_timespec;
Deadline DeadlineAfter(std::chrono::nanoseconds timeout);

// Messages up to this size are sent without knowing the server's limit, which is larger by far.
inline constexpr int64_t kAlwaysAllowedBytes = int64_t{1} << 20;

// A channel to a server, its methods and what has been learnt about the server. Thread-safe. Shared by a
// Client and its streams.
class Connection {
 public:
  // INVALID_ARGUMENT when an option is not valid, FAILED_PRECONDITION when a file that it names is not.
  static absl::StatusOr<std::shared_ptr<Connection>> Create(ClientOptions options);

  // `token` may be null.
  Connection(ClientOptions options, std::shared_ptr<grpc::Channel> channel, std::unique_ptr<TokenFile> token);

  const ClientOptions& options() const { return options_; }
  grpc::Channel* channel() const { return channel_.get(); }
  const grpc::internal::RpcMethod& evaluate() const { return evaluate_; }
  const grpc::internal::RpcMethod& evaluate_batch() const { return evaluate_batch_; }
  const grpc::internal::RpcMethod& evaluate_stream() const { return evaluate_stream_; }
  const grpc::internal::RpcMethod& get_server_info() const { return get_server_info_; }
  const grpc::internal::RpcMethod& health_check() const { return health_check_; }

  // The time a call may take. INVALID_ARGUMENT when its option is not positive.
  absl::StatusOr<std::chrono::nanoseconds> Timeout(const CallOptions& call) const;

  // The token as it is now, as a header's value; empty: there is none.
  std::string Authorization() const { return token_ == nullptr ? std::string() : token_->Authorization(); }
  // Adds it to a call that has not begun.
  static void Authorize(const std::string& authorization, grpc::ClientContext& context) {
    if (!authorization.empty()) context.AddMetadata("authorization", authorization);
  }

  // A unary call, waiting for its answer and for the memory that it has borrowed.
  absl::Status Call(const grpc::internal::RpcMethod& method, const wire::Parts& request, Deadline deadline,
                    grpc::ByteBuffer& response);

  // Asks the server.
  absl::StatusOr<ServerInfo> FetchServerInfo(Deadline deadline);

  // Whether a message of `bytes` may be sent: INVALID_ARGUMENT when it exceeds the server's limit. Asks the
  // server when the limit matters and is not known yet.
  absl::Status CheckSize(int64_t bytes, Deadline deadline);

  // Has the limit been learnt, or does it not matter for `bytes`?
  bool KnowsLimitFor(int64_t bytes) const;
  void LearnLimit(const ServerInfo& info);
  // Of a message whose limit is known.
  absl::Status CheckAgainstLimit(int64_t bytes) const;

  // Waits until the memory is no longer used.
  void WaitUntilReturned(LentMemory& memory);

  // Started at its first use.
  CompletionThread& completion_thread();

  // What a call ended with. While a server is away calls fail at once, and gRPC attends to a connection that
  // is being made only where a call waits for it, else every 5 s: after UNAVAILABLE the completion thread
  // does it for a moment.
  void CallEnded(const absl::Status& status);

 private:
  // The completion thread is attending to the channel.
  class Attention : public CompletionTag {
   public:
    explicit Attention(Connection& connection) : connection_(connection) {}
    void Proceed(bool ok) override;

   private:
    Connection& connection_;
  };

  const ClientOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<TokenFile> token_;
  const grpc::internal::RpcMethod evaluate_;
  const grpc::internal::RpcMethod evaluate_batch_;
  const grpc::internal::RpcMethod evaluate_stream_;
  const grpc::internal::RpcMethod get_server_info_;
  const grpc::internal::RpcMethod health_check_;

  mutable std::mutex mu_;
  // Guarded by mu_.
  int64_t max_message_bytes_ = 0;  // 0: not known
  Attention attention_{*this};
  bool attending_ = false;
  std::unique_ptr<CompletionThread> completion_thread_;
};

}  // namespace kldiv::internal

#endif  // KLDIV_CLIENT_CONNECTION_H_
