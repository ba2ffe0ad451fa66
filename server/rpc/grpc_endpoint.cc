#include "server/rpc/grpc_endpoint.h"

#include <grpcpp/grpcpp.h>

#include "server/rpc/grpc_credentials.h"

namespace kldiv::server {

using ConnectionAcceptor = grpc::experimental::ExternalConnectionAcceptor;
using ConnectionType = grpc::ServerBuilder::experimental_type::ExternalConnectionType;

absl::StatusOr<std::unique_ptr<GrpcEndpoint>> GrpcEndpoint::Start(const GrpcTransportOptions& options,
                                                                  Service& service,
                                                                  const Replaceable<TlsMaterial>* tls) {
  std::unique_ptr<GrpcEndpoint> endpoint(new GrpcEndpoint());
  grpc::ServerBuilder builder;
  endpoint->transport_ = GrpcTransport::Create(options, builder);
  endpoint->acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      ConnectionType::FROM_FD, grpc::InsecureServerCredentials());
  if (tls != nullptr) {
    endpoint->tls_acceptor_ =
        builder.experimental().AddExternalConnectionAcceptor(ConnectionType::FROM_FD, TlsCredentials(*tls));
  }
  endpoint->server_ = builder.BuildAndStart();
  if (endpoint->server_ == nullptr) return absl::InternalError("gRPC did not start; its log says why");
  endpoint->transport_->Start(*endpoint->server_, service);
  return endpoint;
}

void GrpcEndpoint::TakeConnection(int listener_fd, int fd, bool is_tcp) {
  ConnectionAcceptor::NewConnectionParameters connection;
  connection.listener_fd = listener_fd;
  connection.fd = fd;
  (is_tcp && tls_acceptor_ != nullptr ? tls_acceptor_ : acceptor_)->HandleNewConnection(&connection);
}

void GrpcEndpoint::Shutdown(std::chrono::milliseconds grace) {
  server_->Shutdown(std::chrono::system_clock::now() + grace);
}

}  // namespace kldiv::server
