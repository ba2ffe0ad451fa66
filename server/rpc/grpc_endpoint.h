#ifndef KLDIV_SERVER_RPC_GRPC_ENDPOINT_H_
#define KLDIV_SERVER_RPC_GRPC_ENDPOINT_H_

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <memory>

#include "absl/status/statusor.h"
#include "server/rpc/grpc_transport.h"
#include "server/rpc/transport.h"
#include "server/security/certificates.h"

namespace kldiv::server {

// A gRPC server that listens nowhere: connections are given to it.
//
// Thread-safe, apart from the order of Start, Shutdown, Stop.
class GrpcEndpoint {
 public:
  // Serves `service`, which outlives Stop; over TCP with `tls`, which outlives it too, or in plaintext where
  // that is null. INTERNAL: gRPC did not start; its log says why.
  static absl::StatusOr<std::unique_ptr<GrpcEndpoint>> Start(const GrpcTransportOptions& options,
                                                             Service& service,
                                                             const Replaceable<TlsMaterial>* tls);

  GrpcEndpoint(const GrpcEndpoint&) = delete;
  GrpcEndpoint& operator=(const GrpcEndpoint&) = delete;

  // Takes over `fd`, a connection that was accepted from `listener_fd`, over TCP or on this machine.
  void TakeConnection(int listener_fd, int fd, bool is_tcp);

  // As GrpcTransport's.
  void Tick(std::chrono::steady_clock::time_point now) { transport_->Tick(now); }
  bool WaitUntilIdle(std::chrono::milliseconds timeout) { return transport_->WaitUntilIdle(timeout); }

  // Ends the connections, and cancels calls that are still open after `grace`.
  void Shutdown(std::chrono::milliseconds grace);

  // After Shutdown; as GrpcTransport's.
  bool Stop(std::chrono::milliseconds timeout) { return transport_->Stop(timeout); }

 private:
  GrpcEndpoint() = default;

  std::unique_ptr<GrpcTransport> transport_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> tls_acceptor_;  // of TCP; null: plaintext
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_GRPC_ENDPOINT_H_
