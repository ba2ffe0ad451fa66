#ifndef KLDIV_TESTS_WIRE_WIRE_BYTES_H_
#define KLDIV_TESTS_WIRE_WIRE_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/wire/slices.h"

// Messages written byte by byte, right or wrong, without the code under test.
namespace kldiv::wire::testing {

enum : int { kVarint = 0, kFixed64 = 1, kBytes = 2, kStartGroup = 3, kEndGroup = 4, kFixed32 = 5 };

// `value` in at least `min_bytes` bytes, of which there may be more than 10.
std::string Varint(uint64_t value, size_t min_bytes = 1);

std::string Tag(uint32_t number, int wire_type);
std::string VarintField(uint32_t number, uint64_t value);
std::string BytesField(uint32_t number, std::string_view bytes);
std::string Fixed32Field(uint32_t number, uint32_t value);
std::string Fixed64Field(uint32_t number, uint64_t value);
std::string Group(uint32_t number, std::string_view inside);

// The fields of a Tensor, its shape packed.
std::string Tensor(int dtype, const std::vector<int64_t>& shape, std::string_view data);

// The fields of an EvaluateRequest of two FP32 tensors of shape [2, 3].
std::string GoodRequest();

// A message in slices. Between them lies what is no part of it, and what AddressSanitizer reports when it is
// touched.
class SlicedMessage {
 public:
  // In one slice.
  explicit SlicedMessage(std::string_view bytes) : SlicedMessage(bytes, {}) {}
  // Slices of these sizes, as far as the bytes reach, and one of the rest.
  SlicedMessage(std::string_view bytes, std::span<const size_t> sizes);
  ~SlicedMessage();

  SlicedMessage(const SlicedMessage&) = delete;
  SlicedMessage& operator=(const SlicedMessage&) = delete;

  std::span<const Slice> slices() const { return slices_; }

 private:
  std::vector<uint8_t> memory_;
  std::vector<Slice> slices_;
};

// `size` times `count`.
std::vector<size_t> Sizes(size_t size, size_t count);

// A copy of what the view shows.
std::string BytesOf(const ByteView& view);

}  // namespace kldiv::wire::testing

#endif  // KLDIV_TESTS_WIRE_WIRE_BYTES_H_
