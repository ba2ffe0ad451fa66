#ifndef KLDIV_SERVER_RPC_GRPC_CREDENTIALS_H_
#define KLDIV_SERVER_RPC_GRPC_CREDENTIALS_H_

#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "server/security/certificates.h"

namespace kldiv::server {

// TLS with whatever `material` is when a connection begins: a change reaches the next handshake and leaves
// connections that are open alone. With authorities for clients in it at first, every client has to show a
// certificate that leads to them.
//
// `material` outlives the server that uses the credentials.
std::shared_ptr<grpc::ServerCredentials> TlsCredentials(const Replaceable<TlsMaterial>& material);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_GRPC_CREDENTIALS_H_
