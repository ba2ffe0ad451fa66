#ifndef KLDIV_SERVER_LANES_EVALUATE_H_
#define KLDIV_SERVER_LANES_EVALUATE_H_

#include <cstdint>

#include "proto/wire/pair.h"
#include "server/lanes/lane.h"

// Evaluates pairs on the calling thread, reading tensor bytes where they lie. The thread's floating-point
// control register must be the default one (numerics/float_control.h). Thread-safe.
namespace kldiv::server {

// Fills `piece`'s tile sums or its part of the pointwise losses.
void EvaluatePiece(const Piece& piece);

// The pair's sum, NaN canonical. For short pairs: its tile sums live on the stack up to 64 tiles, beyond
// that on the heap.
double EvaluateSum(const wire::Pair& pair);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_LANES_EVALUATE_H_
