#ifndef KLDIV_SERVER_RPC_STREAM_CALL_H_
#define KLDIV_SERVER_RPC_STREAM_CALL_H_

#include <memory>

#include "server/rpc/caller.h"
#include "server/rpc/service_context.h"
#include "server/rpc/transport.h"

namespace kldiv::server {

// The handler of a call of EvaluateStream that has been let in with `pass`. Starts it.
std::unique_ptr<CallHandler> StartStreamCall(ServiceContext& context, Call& call, Pass pass);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_STREAM_CALL_H_
