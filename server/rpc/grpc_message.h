#ifndef KLDIV_SERVER_RPC_GRPC_MESSAGE_H_
#define KLDIV_SERVER_RPC_GRPC_MESSAGE_H_

#include <grpc/grpc.h>

#include "server/rpc/transport.h"

// Between gRPC's byte buffers and the service's messages and answers. Tensor bytes are not copied either way.
namespace kldiv::server {

// Was the message sent compressed?
bool IsCompressed(const grpc_byte_buffer& buffer);

// Takes `buffer` over: it is destroyed with the message. It holds raw bytes, not compressed ones.
Message MessageFromByteBuffer(grpc_byte_buffer* buffer);

// A buffer for the caller to destroy; it keeps the answer's memory.
grpc_byte_buffer* ByteBufferFromAnswer(Answer answer);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_GRPC_MESSAGE_H_
