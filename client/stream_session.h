#ifndef KLDIV_CLIENT_STREAM_SESSION_H_
#define KLDIV_CLIENT_STREAM_SESSION_H_

#include <grpcpp/client_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/sync_stream.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/connection.h"
#include "client/grpc_status.h"

namespace kldiv::internal {

// One gRPC call of a stream, which has one after the other: a server may end it, and the stream goes on.
// Thread-safe as gRPC's calls are: one thread writes, one reads, any may cancel.
class StreamSession {
 public:
  using Call = grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

  // Waits for nothing: the headers go with the first message.
  StreamSession(Connection& connection, std::optional<Deadline> deadline)
      : authorization_(connection.Authorization()) {
    Connection::Authorize(authorization_, context_);
    if (deadline.has_value()) context_.set_deadline(*deadline);
    context_.set_initial_metadata_corked(true);
    call_.reset(grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
        connection.channel(), connection.evaluate_stream(), &context_));
  }

  Call& call() { return *call_; }
  // Waits for the end, once.
  absl::Status Finish() { return FromGrpcStatus(call_->Finish(), context_); }
  // The token that was sent, as Connection::Authorization.
  const std::string& authorization() const { return authorization_; }
  void Cancel() { context_.TryCancel(); }

 private:
  const std::string authorization_;
  grpc::ClientContext context_;
  std::unique_ptr<Call> call_;
};

}  // namespace kldiv::internal

#endif  // KLDIV_CLIENT_STREAM_SESSION_H_
