#ifndef KLDIV_SERVER_RPC_INFO_CALLS_H_
#define KLDIV_SERVER_RPC_INFO_CALLS_H_

#include <memory>
#include <string>

#include "server/rpc/caller.h"
#include "server/rpc/service_context.h"
#include "server/rpc/transport.h"

namespace kldiv::server {

// The GetServerInfoResponse of a server with these options.
std::string EncodeServerInfo(const ServiceOptions& options);

// Handlers of GetServerInfo and of grpc.health.v1's Check. They start at once; `server_info` outlives the
// call.
std::unique_ptr<CallHandler> StartServerInfoCall(ServiceContext& context, Call& call, Pass pass,
                                                 const std::string& server_info);
std::unique_ptr<CallHandler> StartHealthCheckCall(ServiceContext& context, Call& call, Pass pass);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_INFO_CALLS_H_
