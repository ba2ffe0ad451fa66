#ifndef KLDIV_TESTS_WIRE_REFERENCE_H_
#define KLDIV_TESTS_WIRE_REFERENCE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/wire/decode.h"

// The contract's rules once more, by way of the generated classes and their unknown fields: what the decoder
// has to answer. Slow and plain.
namespace kldiv::wire::testing {

struct ExpectedPair {
  std::string fault;  // how the text of its fault begins; empty: the pair is valid, and all below holds
  uint64_t request_id = 0;
  numerics::Formula formula;
  int64_t elements = 0;
  std::string input;
  std::string target;
  std::vector<int64_t> shape;
  Reduction reduction = Reduction::kMean;
  bool want_timing = false;
  int64_t timeout_ns = 0;
};

// nullopt: the generated parser refuses the bytes.
std::optional<ExpectedPair> ExpectEvaluateRequest(std::string_view bytes);

// nullopt: the generated parser refuses the bytes, or the message breaks a rule as a whole.
std::optional<std::vector<ExpectedPair>> ExpectEvaluateBatchRequest(std::string_view bytes,
                                                                    int64_t max_pairs);

// Does the generated parser take them?
bool ExpectGetServerInfoRequest(std::string_view bytes);

// How the decoder's answer differs from the expected one, for people; empty: it does not.
std::string Difference(const absl::StatusOr<PairRequest>& got, const std::optional<ExpectedPair>& expected);
std::string Difference(const absl::StatusOr<std::vector<PairRequest>>& got,
                       const std::optional<std::vector<ExpectedPair>>& expected);

}  // namespace kldiv::wire::testing

#endif  // KLDIV_TESTS_WIRE_REFERENCE_H_
