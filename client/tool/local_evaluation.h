#ifndef KLDIV_CLIENT_TOOL_LOCAL_EVALUATION_H_
#define KLDIV_CLIENT_TOOL_LOCAL_EVALUATION_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "client/include/kldiv/client.h"
#include "server/numerics/formula.h"

// Evaluates tensors in this process, of any size and on all of its cores, with the bits that a server
// answers.
namespace kldiv::tool {

// Two dense row-major tensors of the formula's dtypes, `elements` long, at any alignment.
struct LocalPair {
  numerics::Formula formula;
  int64_t elements = 0;
  std::span<const std::byte> input;
  std::span<const std::byte> target;
};

// `pair`, whose tensors have `elements` each.
LocalPair ToLocal(const Pair& pair, int64_t elements);

// The sum of all losses, NaN canonical. At most `threads` >= 1 threads compute.
double SumLosses(const LocalPair& pair, int threads);

// The loss of a pair of `elements` whose losses add up to `sum`, as its reduction asks for it.
double Reduce(double sum, const Pair& pair, int64_t elements);

// Every element's loss, rounded to formula.output(), into `losses`, which is as long as they are.
void ComputeLosses(const LocalPair& pair, int threads, std::span<std::byte> losses);

}  // namespace kldiv::tool

#endif  // KLDIV_CLIENT_TOOL_LOCAL_EVALUATION_H_
