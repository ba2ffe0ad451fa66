#ifndef KLDIV_CLIENT_MESSAGES_H_
#define KLDIV_CLIENT_MESSAGES_H_

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "client/include/kldiv/client.h"
#include "client/lent_memory.h"
#include "proto/wire/encode.h"

// Between the library's types and the bytes of kldiv.v1 messages.
namespace kldiv::internal {

// Requests around the pairs' memory. `timeout_ns`: what a pair without a timeout of its own asks for.
wire::Parts EncodePair(const Pair& pair, uint64_t request_id, int64_t timeout_ns);
wire::Parts EncodePairs(std::span<const Pair> pairs);

// The message as gRPC sends it: references are lent by `memory`, the rest is copied.
grpc::ByteBuffer ToByteBuffer(const wire::Parts& parts, LentMemory& memory);

// The same with all of its bytes copied. A copy of it shares them.
grpc::ByteBuffer CopyToByteBuffer(const wire::Parts& parts);

// Answers. INTERNAL when the bytes are no such message or contradict themselves. Pointwise losses are copied
// once.
absl::StatusOr<Evaluation> ParseEvaluateResponse(grpc::ByteBuffer& message);
absl::StatusOr<std::vector<absl::StatusOr<Evaluation>>> ParseEvaluateBatchResponse(grpc::ByteBuffer& message,
                                                                                   size_t pairs);
absl::StatusOr<StreamResult> ParseEvaluateResult(grpc::ByteBuffer& message);
absl::StatusOr<ServerInfo> ParseServerInfo(grpc::ByteBuffer& message);
absl::StatusOr<Health> ParseHealth(grpc::ByteBuffer& message);

}  // namespace kldiv::internal

#endif  // KLDIV_CLIENT_MESSAGES_H_
