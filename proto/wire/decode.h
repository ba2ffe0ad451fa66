#ifndef KLDIV_PROTO_WIRE_DECODE_H_
#define KLDIV_PROTO_WIRE_DECODE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/wire/pair.h"
#include "proto/wire/slices.h"

// Reads kldiv.v1 request messages from the bytes that the transport received. Tensor bytes stay where
// they are. Accepts, refuses and sees exactly what the generated parser does (merged messages, the last
// scalar wins, packed and unpacked shapes, groups), apart from the contract's two rules:
// - An unknown field below 100 of EvaluateRequest, EvaluateBatchRequest or Tensor is refused, as often as it
//   comes and wherever it stands; so is a known field with another wire type. What is inside an unknown group
//   or message is not looked at.
// - A bool is 0 or 1 and an enum a value that is listed. As the last scalar wins, so the last one counts:
//   a value that a later one replaced was never the question. An enum is the low 32 bits of its varint, as
//   in the generated classes; a bool is judged by all 64.
// A text of a fault or of undecodable bytes has at most 250 bytes.
namespace kldiv::wire {

// The numbers are those of kldiv.v1.Reduction; UNSPECIFIED has become kMean.
enum class Reduction : uint8_t { kNone = 1, kMean = 2, kBatchMean = 3, kSum = 4 };

inline constexpr int kMaxDimensions = 64;
using Shape = absl::InlinedVector<int64_t, 4>;

// One EvaluateRequest. Without a fault all of it holds; with one only `request_id` and `status` do.
struct PairRequest {
  uint64_t request_id = 0;
  Pair pair;                               // views into the message
  Shape shape;                             // of both tensors
  Reduction reduction = Reduction::kMean;  // the legacy arguments have been applied
  bool want_timing = false;
  int64_t timeout_ns = 0;  // this pair's own deadline, from receipt; 0: only the call's
  absl::Status status;     // INVALID_ARGUMENT for the pair's own fault: field, what came, what was expected
};

// The message of Evaluate, or one of EvaluateStream, whose bytes are `slices`, which outlive the answer.
//
// OK whenever the bytes are an EvaluateRequest; a fault of the pair is in its `status`.
// INVALID_ARGUMENT when they cannot be decoded.
absl::StatusOr<PairRequest> DecodeEvaluateRequest(std::span<const Slice> slices);

// The message of EvaluateBatch: its pairs in order, each with its own status.
//
// INVALID_ARGUMENT, for the whole message and before any fault of a pair: bytes that cannot be decoded
// anywhere, more than `max_pairs` pairs, an unknown field below 100 of the message itself.
absl::StatusOr<std::vector<PairRequest>> DecodeEvaluateBatchRequest(std::span<const Slice> slices,
                                                                    int64_t max_pairs);

// Is this the message of GetServerInfo? Unknown fields are ignored. INVALID_ARGUMENT when the bytes cannot be
// decoded.
absl::Status DecodeGetServerInfoRequest(std::span<const Slice> slices);

}  // namespace kldiv::wire

#endif  // KLDIV_PROTO_WIRE_DECODE_H_
