#ifndef KLDIV_PROTO_WIRE_READER_H_
#define KLDIV_PROTO_WIRE_READER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "proto/wire/slices.h"

namespace kldiv::wire {

// The three low bits of a tag.
enum class WireType : uint8_t {
  kVarint = 0,
  kFixed64 = 1,
  kLengthDelimited = 2,
  kStartGroup = 3,
  kEndGroup = 4,
  kFixed32 = 5
};

constexpr uint32_t Tag(uint32_t number, WireType type) { return number << 3 | static_cast<uint32_t>(type); }
constexpr uint32_t FieldNumber(uint32_t tag) { return tag >> 3; }

// Reads the fields of a protobuf message that lies in slices, and of the messages inside it, one at a time.
//
// Accepts and refuses what protobuf 3.21's C++ parser does. Notably: a varint has up to 10 bytes and what it
// holds above 64 bits is dropped; a tag has up to 5 bytes and what it holds above 32 bits is dropped;
// messages and groups nest 100 deep below the outermost message.
//
// A function that returns bool gives false when the bytes cannot be decoded. Error() then says why, and the
// reader is of no more use.
//
// Not thread-safe. The slices and their array outlive the reader and the views it gives.
class Reader {
 public:
  // The largest message that the generated parser takes.
  static constexpr size_t kMaxMessageBytes = 0x7fffffff;
  static constexpr int kMaxDepth = 100;

  explicit Reader(std::span<const Slice> slices) : slices_(slices) {
    if (slices.empty()) return;
    slice_ = slices.data();
    position_ = slice_->data();
    end_ = slice_end_ = position_ + slice_->size();
    for (const Slice& later : slices.subspan(1)) beyond_ += later.size();
  }

  // Bytes of the current message that have not been read.
  size_t left() const { return static_cast<size_t>(end_ - position_) + beyond_; }

  // True when the current message has been read to its end.
  bool AtEnd() {
    if (position_ != end_) return false;
    if (beyond_ == 0) return true;
    NextSlice();
    return false;
  }

  // The next tag; its field number may be 0, which SkipField refuses.
  bool ReadTag(uint32_t* tag) {
    if (position_ != end_ && *position_ < 0x80) {
      *tag = *position_++;
      return true;
    }
    return ReadLongTag(tag);
  }

  bool ReadVarint(uint64_t* value) {
    if (position_ != end_ && *position_ < 0x80) {
      *value = *position_++;
      return true;
    }
    if (end_ - position_ >= 2 && position_[1] < 0x80) {
      *value = ReadTwoBytes();
      return true;
    }
    return ReadLongVarint(value);
  }

  // The length of what follows, at most left().
  bool ReadLength(size_t* length) {
    if (position_ != end_ && *position_ < 0x80) {
      *length = *position_++;
    } else if (end_ - position_ >= 2 && position_[1] < 0x80) {
      *length = ReadTwoBytes();
    } else if (!ReadLongLength(length)) {
      return false;
    }
    return *length <= left() || Fail("a length reaches past the end of its message");
  }

  // Makes the next `length` bytes, as ReadLength gave it, the current message. Returns what Leave needs.
  size_t Enter(size_t length) {
    const size_t outer = left() - length;
    Limit(length);
    --depth_;
    return outer;
  }

  // Goes back to the message around the current one, which has been read to its end.
  void Leave(size_t outer) {
    Limit(outer);
    ++depth_;
  }

  // Views the next `length` bytes, as ReadLength gave it, and moves past them.
  ByteView ReadBytes(size_t length) {
    if (length == 0) return {};
    if (position_ == end_) NextSlice();
    const ByteView view{slice_, static_cast<size_t>(position_ - slice_->data()), length};
    Skip(length);
    return view;
  }

  // Moves past the field whose tag has just been read; a group with all that is in it.
  bool SkipField(uint32_t tag);

  // Where and why reading stopped, as "at byte 17: a group is not closed".
  std::string Error() const;

 private:
  void NextSlice();
  void Limit(size_t bytes) {
    const auto here = static_cast<size_t>(slice_end_ - position_);
    const size_t at_hand = bytes < here ? bytes : here;
    end_ = position_ + at_hand;
    beyond_ = bytes - at_hand;
  }
  // Moves on by `bytes`, at most left().
  void Skip(size_t bytes) {
    while (bytes > static_cast<size_t>(end_ - position_)) {
      bytes -= static_cast<size_t>(end_ - position_);
      position_ = end_;
      NextSlice();
    }
    position_ += bytes;
  }
  // The number that the next two bytes are.
  uint32_t ReadTwoBytes() {
    const uint32_t value = static_cast<uint32_t>(position_[1]) << 7 | (position_[0] & 0x7f);
    position_ += 2;
    return value;
  }
  bool SkipFixed(size_t bytes);
  bool SkipGroup(uint32_t number);
  bool ReadByte(uint8_t* byte);
  bool ReadLongTag(uint32_t* tag);
  bool ReadLongVarint(uint64_t* value);
  bool ReadLongLength(size_t* length);
  bool Fail(const char* why) {
    why_ = why;
    return false;
  }

  // Where there are bytes beyond end_, end_ is slice_end_.
  const uint8_t* position_ = nullptr;
  const uint8_t* end_ = nullptr;        // of the current message's bytes in this slice
  const uint8_t* slice_end_ = nullptr;  // of this slice
  const Slice* slice_ = nullptr;        // the slice that is being read
  size_t beyond_ = 0;                   // bytes of the current message in later slices
  int depth_ = kMaxDepth;               // how much deeper messages and groups may nest
  const char* why_ = "";
  const std::span<const Slice> slices_;
};

}  // namespace kldiv::wire

#endif  // KLDIV_PROTO_WIRE_READER_H_
