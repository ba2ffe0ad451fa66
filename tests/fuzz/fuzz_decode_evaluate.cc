// The decoder of EvaluateRequest, and of GetServerInfoRequest, against the generated parser.
#include "proto/wire/decode.h"
#include "tests/fuzz/fuzz_decode.h"
#include "tests/wire/random_message.h"
#include "tests/wire/reference.h"

namespace testing = kldiv::wire::testing;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto slices = testing::SlicesOf(data, size);
  const auto message = testing::MessageOf(data, size);
  testing::RequireEqual(testing::Difference(kldiv::wire::DecodeEvaluateRequest(slices.slices()),
                                            testing::ExpectEvaluateRequest(message)));
  const bool accepted = kldiv::wire::DecodeGetServerInfoRequest(slices.slices()).ok();
  testing::RequireEqual(accepted == testing::ExpectGetServerInfoRequest(message) ? ""
                                                                                 : "GetServerInfoRequest");
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return testing::MutateMessage(data, size, max_size, seed,
                                [](uint64_t number) { return testing::RandomMessage(number).Request(); });
}
