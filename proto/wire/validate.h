#ifndef KLDIV_PROTO_WIRE_VALIDATE_H_
#define KLDIV_PROTO_WIRE_VALIDATE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "proto/wire/decode.h"
#include "proto/wire/fields.h"

// The rules that a request has to keep once its bytes have been decoded.
namespace kldiv::wire {

// Fills `pair`, which is as it was constructed, from `fields`. A fault becomes `pair.status`:
// INVALID_ARGUMENT with a text of at most 250 bytes that names the field, what came and what was expected. Of
// several faults the first of this order is named: fields that this server does not know (of the request, of
// input, of target); reduction, log_target, zero_target, size_average, reduce, timeout_ns, want_timing;
// input; target; shapes that differ.
void Validate(const RequestFields& fields, PairRequest& pair);

// "field 9 is not known to this server (0.1.0): EvaluateRequest has it, with wire type 2".
std::string UnknownFieldText(uint32_t tag, std::string_view message);

}  // namespace kldiv::wire

#endif  // KLDIV_PROTO_WIRE_VALIDATE_H_
