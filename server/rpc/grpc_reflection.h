#ifndef KLDIV_SERVER_RPC_GRPC_REFLECTION_H_
#define KLDIV_SERVER_RPC_GRPC_REFLECTION_H_

namespace kldiv::server {

// Servers built from now on answer grpc.reflection: which services there are, and what their messages look
// like.
void EnableReflection();

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_GRPC_REFLECTION_H_
