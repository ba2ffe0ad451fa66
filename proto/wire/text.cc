#include "proto/wire/text.h"

#include <cstdint>

namespace kldiv::wire {
namespace {

bool IsBetween(char byte, uint8_t low, uint8_t high) {
  return static_cast<uint8_t>(byte) >= low && static_cast<uint8_t>(byte) <= high;
}

// Bytes of the character with which `text`, not empty, begins; 0 when it begins with none. The table of
// well-formed sequences in the Unicode standard: no overlong forms, no surrogates, nothing over U+10FFFF.
size_t CharacterLength(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  if (first < 0x80) return 1;
  const size_t length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  const uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (!IsBetween(text[1], low, high)) return 0;
  for (const char byte : text.substr(2, length - 2)) {
    if (!IsBetween(byte, 0x80, 0xbf)) return 0;
  }
  return length;
}

}  // namespace

std::string ValidUtf8(std::string_view text, size_t max_bytes) {
  std::string valid;
  while (!text.empty()) {
    const size_t length = CharacterLength(text);
    const size_t taken = length == 0 ? 1 : length;
    if (valid.size() + taken > max_bytes) break;
    if (length == 0) {
      valid += '?';
    } else {
      valid += text.substr(0, length);
    }
    text.remove_prefix(taken);
  }
  return valid;
}

}  // namespace kldiv::wire
