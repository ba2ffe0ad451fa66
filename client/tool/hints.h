#ifndef KLDIV_CLIENT_TOOL_HINTS_H_
#define KLDIV_CLIENT_TOOL_HINTS_H_

#include <string>
#include <vector>

#include "client/include/kldiv/client.h"

namespace kldiv::tool {

// What is probably a mistake in a pair of one shape whose data is complete, a sentence each: an input with
// positive values, rows of the target (its last dimension) that do not sum to 1 (their exponentials, with
// log_target), and `mean` where another reduction is the divergence. Looks at the first 16 million elements
// at most.
std::vector<std::string> HintsFor(const Pair& pair);

}  // namespace kldiv::tool

#endif  // KLDIV_CLIENT_TOOL_HINTS_H_
