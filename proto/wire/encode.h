#ifndef KLDIV_PROTO_WIRE_ENCODE_H_
#define KLDIV_PROTO_WIRE_ENCODE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/wire/decode.h"

// Writes kldiv.v1 messages around large byte runs without copying them: a message is a list of parts,
// each either small bytes of its own or a reference to somebody's memory. An empty run gives no reference.
// All together they are the bytes that the generated classes serialize for the same message.
namespace kldiv::wire {

// A message to send, as bytes and references in order. Movable, cheap to build.
class Parts {
 public:
  struct Reference {
    size_t after;  // it stands after this many of the owned bytes
    Slice bytes;   // somebody else's memory
    size_t tag;    // the writer's own: tells the sender who owns the memory
  };

  std::string owned;                  // the small bytes, all together
  std::vector<Reference> references;  // in order of `after`

  size_t size() const;  // bytes of the whole message, walked over at each call
};

struct Timing {
  int64_t queue_ns = 0;    // from admission to the start of computing
  int64_t compute_ns = 0;  // to the last tile sum (the batch's)
  int64_t total_ns = 0;    // from the headers to handing over the answer
  int32_t batch_pairs = 0;
};

// The answer to one pair.
struct PairAnswer {
  uint64_t request_id = 0;
  absl::Status status;  // not OK: only request_id, this and retry_after_ms count
  int64_t retry_after_ms = 0;
  int64_t element_count = 0;
  bool none = false;  // true: `pointwise` is the answer, else `loss`
  double loss = 0;    // already divided and canonical
  numerics::DType pointwise_dtype = numerics::DType::kFp32;
  std::span<const int64_t> shape;  // of the pointwise answer
  Slice pointwise;                 // becomes a reference, with `tag`
  size_t tag = 0;
  std::optional<Timing> timing;
};

// Bytes of an Error's message at most.
inline constexpr size_t kMaxErrorMessageBytes = 256;

// An EvaluateResponse. `answer.status` is OK.
Parts EncodeEvaluateResponse(const PairAnswer& answer);
// An EvaluateResult, with a response or an error. The error's message is made valid UTF-8, '?' standing for a
// byte that is not, and cut before the character that would exceed kMaxErrorMessageBytes.
Parts EncodeEvaluateResult(const PairAnswer& answer);
// An EvaluateBatchResponse with one result for each answer, in order.
Parts EncodeEvaluateBatchResponse(std::span<const PairAnswer> answers);

// A request around the caller's tensors, for the client.
struct RequestTensor {
  numerics::DType dtype = numerics::DType::kFp32;
  std::span<const int64_t> shape;
  Slice data;  // becomes a reference
};
struct Request {
  uint64_t request_id = 0;
  RequestTensor input, target;  // become references with tags 2k and 2k + 1 for the k-th request of a message
  Reduction reduction = Reduction::kMean;
  bool log_target = false;
  bool skip_zero_target = false;
  int64_t timeout_ns = 0;
  bool want_timing = false;
};
Parts EncodeEvaluateRequest(const Request& request);
Parts EncodeEvaluateBatchRequest(std::span<const Request> requests);

}  // namespace kldiv::wire

#endif  // KLDIV_PROTO_WIRE_ENCODE_H_
