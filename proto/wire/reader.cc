#include "proto/wire/reader.h"

#include <array>
#include <limits>

#include "absl/strings/str_cat.h"

namespace kldiv::wire {
namespace {

constexpr int kMaxVarintBytes = 10;
constexpr int kMaxTagBytes = 5;
constexpr int kMaxLengthBytes = 5;

// The generated parser keeps 16 bytes of room above every length.
constexpr uint32_t kMaxLength = std::numeric_limits<int32_t>::max() - 16;

}  // namespace

void Reader::NextSlice() {
  do {
    ++slice_;
  } while (slice_->empty());
  position_ = slice_->data();
  slice_end_ = position_ + slice_->size();
  Limit(beyond_);
}

bool Reader::ReadByte(uint8_t* byte) {
  if (AtEnd()) return Fail("the message ends within a number");
  *byte = *position_++;
  return true;
}

bool Reader::ReadLongVarint(uint64_t* value) {
  uint64_t result = 0;
  if (end_ - position_ >= kMaxVarintBytes) {
    for (int i = 0; i < kMaxVarintBytes; ++i) {
      const uint64_t byte = position_[i];
      result |= (byte & 0x7f) << (7 * i);
      if (byte < 0x80) {
        position_ += i + 1;
        *value = result;
        return true;
      }
    }
    return Fail("a number has over 10 bytes");
  }
  for (int i = 0; i < kMaxVarintBytes; ++i) {
    uint8_t byte;
    if (!ReadByte(&byte)) return false;
    result |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      *value = result;
      return true;
    }
  }
  return Fail("a number has over 10 bytes");
}

bool Reader::ReadLongTag(uint32_t* tag) {
  uint32_t result = 0;
  for (int i = 0; i < kMaxTagBytes; ++i) {
    uint8_t byte;
    if (!ReadByte(&byte)) return false;
    result |= static_cast<uint32_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      *tag = result;
      return true;
    }
  }
  return Fail("a tag has over 5 bytes");
}

bool Reader::ReadLongLength(size_t* length) {
  uint64_t result = 0;
  for (int i = 0; i < kMaxLengthBytes; ++i) {
    uint8_t byte;
    if (!ReadByte(&byte)) return false;
    result |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      if (result > kMaxLength) break;
      *length = result;
      return true;
    }
  }
  return Fail("a length is over 2 GiB");
}

bool Reader::SkipFixed(size_t bytes) {
  if (bytes > left()) return Fail("the message ends within a number");
  Skip(bytes);
  return true;
}

bool Reader::SkipField(uint32_t tag) {
  if (FieldNumber(tag) == 0) return Fail("field number 0");
  switch (static_cast<WireType>(tag & 7)) {
    case WireType::kVarint: {
      uint64_t value;
      return ReadVarint(&value);
    }
    case WireType::kFixed64:
      return SkipFixed(8);
    case WireType::kLengthDelimited: {
      size_t length;
      if (!ReadLength(&length)) return false;
      Skip(length);
      return true;
    }
    case WireType::kStartGroup:
      return SkipGroup(FieldNumber(tag));
    case WireType::kEndGroup:
      return Fail("the end of a group that was not begun");
    case WireType::kFixed32:
      return SkipFixed(4);
  }
  return Fail("wire type 6 or 7");
}

// A loop, not a recursion: the depth of the stack is not the peer's to choose.
bool Reader::SkipGroup(uint32_t number) {
  std::array<uint32_t, kMaxDepth> open;  // the field numbers of the groups begun and not ended
  int depth = 0;
  for (uint32_t tag = Tag(number, WireType::kStartGroup);;) {
    const auto type = static_cast<WireType>(tag & 7);
    if (type == WireType::kStartGroup && FieldNumber(tag) != 0) {
      if (depth == depth_) return Fail("messages and groups nest over 100 deep");
      open[depth++] = FieldNumber(tag);
    } else if (type == WireType::kEndGroup) {
      if (FieldNumber(tag) != open[--depth]) return Fail("the end of another group than the one begun last");
      if (depth == 0) return true;
    } else if (!SkipField(tag)) {
      return false;
    }
    if (AtEnd()) return Fail("a group is not closed");
    if (!ReadTag(&tag)) return false;
  }
}

std::string Reader::Error() const {
  size_t at = 0;
  for (const Slice& slice : slices_) {
    if (&slice == slice_) {
      at += static_cast<size_t>(position_ - slice.data());
      break;
    }
    at += slice.size();
  }
  return absl::StrCat("at byte ", at, ": ", why_);
}

}  // namespace kldiv::wire
