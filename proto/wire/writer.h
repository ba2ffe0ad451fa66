#ifndef KLDIV_PROTO_WIRE_WRITER_H_
#define KLDIV_PROTO_WIRE_WRITER_H_

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "proto/wire/encode.h"
#include "proto/wire/reader.h"

namespace kldiv::wire {

// Bytes that a number, a field, or a field with `length` bytes in it takes. A scalar field that is 0 is left
// out, as proto3 does, unless its function says otherwise.
constexpr size_t VarintLength(uint64_t value) {
  return (static_cast<size_t>(std::bit_width(value | 1)) + 6) / 7;
}
constexpr size_t TagLength(uint32_t number) { return VarintLength(Tag(number, WireType::kVarint)); }
constexpr size_t VarintFieldLength(uint32_t number, uint64_t value) {
  return value == 0 ? 0 : TagLength(number) + VarintLength(value);
}
constexpr size_t DoubleFieldLength(uint32_t number) { return TagLength(number) + sizeof(double); }
constexpr size_t BytesFieldLength(uint32_t number, size_t length) {
  return TagLength(number) + VarintLength(length) + length;
}

// Appends fields to a message of which the number of owned bytes is known before.
class Writer {
 public:
  // Writes `owned_bytes` into `parts`, which are empty and outlive the writer.
  Writer(size_t owned_bytes, Parts& parts) : parts_(parts) {
    parts.owned.resize(owned_bytes);
    at_ = parts.owned.data();
  }
  ~Writer() { assert(at_ == parts_.owned.data() + parts_.owned.size()); }

  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) *at_++ = static_cast<char>(value | 0x80);
    *at_++ = static_cast<char>(value);
  }

  void VarintField(uint32_t number, uint64_t value) {
    if (value == 0) return;
    Varint(Tag(number, WireType::kVarint));
    Varint(value);
  }

  // Also when it is 0.
  void DoubleField(uint32_t number, double value) {
    static_assert(std::endian::native == std::endian::little);
    Varint(Tag(number, WireType::kFixed64));
    std::memcpy(at_, &value, sizeof(value));
    at_ += sizeof(value);
  }

  // Begins a field of `length` bytes, also when that is 0. They are written next.
  void BytesHeader(uint32_t number, size_t length) {
    Varint(Tag(number, WireType::kLengthDelimited));
    Varint(length);
  }
  void Bytes(std::string_view bytes) {
    std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
  }
  // Bytes that stay where they are and do not count as owned.
  void Reference(Slice bytes, size_t tag) {
    if (bytes.empty()) return;
    parts_.references.push_back({static_cast<size_t>(at_ - parts_.owned.data()), bytes, tag});
  }

 private:
  Parts& parts_;
  char* at_;
};

}  // namespace kldiv::wire

#endif  // KLDIV_PROTO_WIRE_WRITER_H_
