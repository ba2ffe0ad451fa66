#include "tests/wire/wire_bytes.h"

#include <sanitizer/asan_interface.h>

#include <algorithm>

namespace kldiv::wire::testing {

std::string Varint(uint64_t value, size_t min_bytes) {
  std::string bytes;
  do {
    bytes += static_cast<char>((value & 0x7f) | 0x80);
    value >>= 7;
  } while (value != 0 || bytes.size() < min_bytes);
  bytes.back() = static_cast<char>(bytes.back() & 0x7f);
  return bytes;
}

std::string Tag(uint32_t number, int wire_type) {
  return Varint(static_cast<uint64_t>(number) * 8 + static_cast<uint64_t>(wire_type));
}

std::string VarintField(uint32_t number, uint64_t value) { return Tag(number, kVarint) + Varint(value); }

std::string BytesField(uint32_t number, std::string_view bytes) {
  return Tag(number, kBytes) + Varint(bytes.size()) + std::string(bytes);
}

std::string Fixed32Field(uint32_t number, uint32_t value) {
  return Tag(number, kFixed32) + std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

std::string Fixed64Field(uint32_t number, uint64_t value) {
  return Tag(number, kFixed64) + std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

std::string Group(uint32_t number, std::string_view inside) {
  return Tag(number, kStartGroup) + std::string(inside) + Tag(number, kEndGroup);
}

std::string Tensor(int dtype, const std::vector<int64_t>& shape, std::string_view data) {
  std::string sizes;
  for (const int64_t size : shape) sizes += Varint(static_cast<uint64_t>(size));
  return VarintField(1, static_cast<uint64_t>(dtype)) + BytesField(2, sizes) + BytesField(3, data);
}

std::string GoodRequest() {
  return BytesField(2, Tensor(3, {2, 3}, std::string(24, 'x'))) +
         BytesField(3, Tensor(3, {2, 3}, std::string(24, 't')));
}

SlicedMessage::SlicedMessage(std::string_view bytes, std::span<const size_t> sizes) {
  std::vector<size_t> lengths;
  size_t left = bytes.size();
  for (const size_t size : sizes) {
    if (size > left) break;
    lengths.push_back(size);
    left -= size;
  }
  if (left > 0 || lengths.empty()) lengths.push_back(left);

  // A slice begins at a multiple of 8, AddressSanitizer's unit, and at least 8 bytes away from the one
  // before.
  const auto room = [](size_t length) { return length / 8 * 8 + 16; };
  size_t total = 0;
  for (const size_t length : lengths) total += room(length);
  memory_.assign(total, 0x5a);
  slices_.reserve(lengths.size());
  uint8_t* at = memory_.data();
  for (const size_t length : lengths) {
    std::copy_n(bytes.begin(), length, at);
    bytes.remove_prefix(length);
    slices_.emplace_back(at, length);
    ASAN_POISON_MEMORY_REGION(at + length, room(length) - length);
    at += room(length);
  }
}

SlicedMessage::~SlicedMessage() { ASAN_UNPOISON_MEMORY_REGION(memory_.data(), memory_.size()); }

std::vector<size_t> Sizes(size_t size, size_t count) { return std::vector<size_t>(count, size); }

std::string BytesOf(const ByteView& view) {
  std::string bytes(view.size, '\0');
  ByteCursor(view).Copy(view.size, bytes.data());
  return bytes;
}

}  // namespace kldiv::wire::testing
