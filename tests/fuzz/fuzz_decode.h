#ifndef KLDIV_TESTS_FUZZ_FUZZ_DECODE_H_
#define KLDIV_TESTS_FUZZ_FUZZ_DECODE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tests/wire/wire_bytes.h"

// What the fuzzers of the decoder share. An input is a byte that chooses how the message is cut into slices,
// and the message: so a message of the wild is a seed as it is.
namespace kldiv::wire::testing {

// The message that is an input without its first byte.
std::string_view MessageOf(const uint8_t* data, size_t size);

// The same in the slices that the first byte chooses: 0 for one, 1 for one of each byte, any other number for
// sizes that follow from it.
SlicedMessage SlicesOf(const uint8_t* data, size_t size);

// Aborts when `difference` is not empty.
void RequireEqual(const std::string& difference);

// A changed input in place of the one in `data`, at most `max_size` bytes: by libFuzzer, or by what knows the
// format. `make` gives a whole new message for a seed.
size_t MutateMessage(uint8_t* data, size_t size, size_t max_size, unsigned seed,
                     std::string (*make)(uint64_t));

}  // namespace kldiv::wire::testing

#endif  // KLDIV_TESTS_FUZZ_FUZZ_DECODE_H_
