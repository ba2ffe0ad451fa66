#ifndef KLDIV_PROTO_WIRE_FIELDS_H_
#define KLDIV_PROTO_WIRE_FIELDS_H_

#include <cstddef>
#include <cstdint>

#include "proto/wire/decode.h"
#include "proto/wire/reader.h"
#include "proto/wire/slices.h"

// What the bytes of a request say, before anybody asks whether it makes sense. A field that came more than
// once holds its last value, as in the generated messages; a number is kept as wide as it came, because
// the generated bool would no longer tell 2 from 1.
namespace kldiv::wire {

struct TensorFields {
  bool present = false;
  uint32_t unknown_tag = 0;  // of the first field below 100 that is not in kldiv.proto; 0: there is none
  int32_t dtype = 0;
  ByteView data;
  size_t dimensions = 0;          // as many as came
  int64_t shape[kMaxDimensions];  // the first of them; the rest is not initialized
};

struct RequestFields {
  uint64_t request_id = 0;
  TensorFields input;
  TensorFields target;
  int32_t reduction = 0;
  int32_t zero_target = 0;
  uint64_t log_target = 0;
  bool has_size_average = false;
  bool has_reduce = false;
  uint64_t size_average = 0;
  uint64_t reduce = 0;
  int64_t timeout_ns = 0;
  uint64_t want_timing = 0;
  uint32_t unknown_tag = 0;  // as in TensorFields
};

// Unknown fields from this number on are hints and are ignored; those below change the question.
inline constexpr uint32_t kFirstHint = 100;

// Moves past a field that is not in kldiv.proto, or has another wire type there. `first_unknown` becomes its
// tag when it is the first one below kFirstHint. False when the bytes cannot be decoded.
bool SkipUnknown(Reader& reader, uint32_t tag, uint32_t* first_unknown);

// Reads the EvaluateRequest that is `reader`'s current message, to its end. False when the bytes cannot be
// decoded.
bool ReadRequest(Reader& reader, RequestFields& fields);

}  // namespace kldiv::wire

#endif  // KLDIV_PROTO_WIRE_FIELDS_H_
