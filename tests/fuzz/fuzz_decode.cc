#include "tests/fuzz/fuzz_decode.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tests/wire/random_message.h"

// libFuzzer's own; absent where a corpus is only replayed, and there nothing is mutated.
extern "C" __attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace kldiv::wire::testing {
namespace {

std::vector<size_t> SizesFor(uint8_t choice, size_t bytes) {
  if (choice == 0) return {};
  if (choice == 1) return Sizes(1, bytes);
  return RandomMessage(choice).Cuts(bytes);
}

}  // namespace

std::string_view MessageOf(const uint8_t* data, size_t size) {
  return size == 0 ? std::string_view() : std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1);
}

SlicedMessage SlicesOf(const uint8_t* data, size_t size) {
  const std::string_view message = MessageOf(data, size);
  return SlicedMessage(message, SizesFor(size == 0 ? 0 : data[0], message.size()));
}

void RequireEqual(const std::string& difference) {
  if (difference.empty()) return;
  std::fprintf(stderr, "%s\n", difference.c_str());
  std::abort();
}

size_t MutateMessage(uint8_t* data, size_t size, size_t max_size, unsigned seed,
                     std::string (*make)(uint64_t)) {
  RandomMessage random(seed);
  if (size == 0 || random.OneIn(2)) return LLVMFuzzerMutate(data, size, max_size);
  std::string message(MessageOf(data, size));
  if (random.OneIn(4)) {
    const std::string more = make(seed);
    message = random.OneIn(2) ? more : message + more;  // concatenated messages are merged ones
  } else {
    random.Damage(&message);
  }
  if (random.OneIn(8)) data[0] = static_cast<uint8_t>(random.Below(256));
  const size_t length = std::min(message.size(), max_size - 1);
  std::copy_n(message.begin(), length, data + 1);
  return length + 1;
}

}  // namespace kldiv::wire::testing
