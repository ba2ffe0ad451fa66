#ifndef KLDIV_CLIENT_GRPC_STATUS_H_
#define KLDIV_CLIENT_GRPC_STATUS_H_

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <cstdint>

#include "absl/status/status.h"

namespace kldiv::internal {

// The status with which a call ended, with the server's code and text; `context` is that call's, over by now.
// What the server says about a retry is kept for RetryAfter.
absl::Status FromGrpcStatus(const grpc::Status& status, const grpc::ClientContext& context);

// Adds the pause that RetryAfter finds; nothing when it is 0 or less.
void SetRetryAfter(int64_t milliseconds, absl::Status& status);

}  // namespace kldiv::internal

#endif  // KLDIV_CLIENT_GRPC_STATUS_H_
