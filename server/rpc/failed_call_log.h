#ifndef KLDIV_SERVER_RPC_FAILED_CALL_LOG_H_
#define KLDIV_SERVER_RPC_FAILED_CALL_LOG_H_

#include <chrono>
#include <cstdint>

#include "absl/status/status.h"
#include "server/rpc/transport.h"

namespace kldiv::server {

// Writes one line to the log about a call that has ended with `status`: its method, its peer, what it was
// named
// (`request_id`; 0: nothing), and the header `traceparent` where that has the form of W3C's Trace Context. It
// is a warning when the fault is the server's: INTERNAL and the like, not UNAVAILABLE, which is also what a
// drain answers. Of texts that come from a client at most 200 bytes are written; no other headers, and
// nothing of a message.
//
// Of each status at most 10 lines in 10 s, for most are a client's doing; how many were left out is said with
// the next one. Thread-safe.
void LogFailedCall(const Call& call, const absl::Status& status, uint64_t request_id,
                   std::chrono::nanoseconds duration);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_FAILED_CALL_LOG_H_
