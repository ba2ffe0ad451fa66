#ifndef KLDIV_PROTO_WIRE_PAIR_H_
#define KLDIV_PROTO_WIRE_PAIR_H_

#include <cstdint>

#include "proto/wire/slices.h"
#include "server/numerics/formula.h"

namespace kldiv::wire {

// A valid pair: two dense row-major little-endian tensors of one shape. Owns nothing.
struct Pair {
  numerics::Formula formula;
  int64_t elements = 0;
  ByteView input;   // elements * ElementSize(formula.input) bytes, at any alignment
  ByteView target;  // elements * ElementSize(formula.target) bytes, at any alignment
};

}  // namespace kldiv::wire

#endif  // KLDIV_PROTO_WIRE_PAIR_H_
