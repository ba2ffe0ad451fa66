#include "tests/wire/random_message.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "tests/wire/wire_bytes.h"

namespace kldiv::wire::testing {

// A varint, now and then longer than need be, or too long.
std::string RandomMessage::Number(uint64_t value) {
  if (!OneIn(60)) return Varint(value);
  return Varint(value, 1 + Below(OneIn(8) ? 12 : 10));
}

std::string RandomMessage::TagOf(uint32_t number, int wire_type) {
  uint64_t tag = static_cast<uint64_t>(number) * 8 + static_cast<uint64_t>(wire_type);
  if (!OneIn(80)) return Varint(tag);
  if (OneIn(2)) tag += (1 + Below(7)) << 32;  // bits that the fifth byte of a tag has and nobody sees
  return Varint(tag, 1 + Below(OneIn(8) ? 7 : 5));
}

std::string RandomMessage::Field(uint32_t number, uint64_t value) {
  if (OneIn(400)) return UnknownField(0);
  return TagOf(number, kVarint) + Number(value);
}

std::string RandomMessage::Field(uint32_t number, std::string_view bytes) {
  uint64_t length = bytes.size();
  if (OneIn(400)) length += Below(5) - 2;
  const std::string prefix =
      OneIn(60) ? Varint(length & 0xffffffff, 1 + Below(OneIn(8) ? 7 : 5)) : Varint(length & 0xffffffff);
  return TagOf(number, kBytes) + prefix + std::string(bytes);
}

uint64_t RandomMessage::AnyNumber() {
  switch (Below(4)) {
    case 0:
      return Below(10);
    case 1:
      return random_() >> Below(64);
    case 2:
      return Below(3) - 1;
    default:
      return (Below(3) << 32) + Below(6);
  }
}

// A field that is in no message, or a known one with any wire type.
std::string RandomMessage::UnknownField(int depth) {
  constexpr uint32_t kLastNumber = (1u << 29) - 1;
  uint32_t number = static_cast<uint32_t>(OneIn(3) ? Below(12) : 100 + Below(OneIn(2) ? 5 : 2000));
  if (OneIn(50)) number = kLastNumber;
  switch (Below(OneIn(40) ? 8 : 5)) {
    case 0:
      return TagOf(number, kVarint) + Number(AnyNumber());
    case 1:
      return TagOf(number, kFixed32) + std::string(4, '\x42');
    case 2:
      return TagOf(number, kFixed64) + std::string(8, '\x42');
    case 3:
      return Field(number, std::string_view("\x08\x01\x13\x14 more", Below(10)));
    case 4: {
      std::string inside;
      if (OneIn(100)) {  // around the deepest nesting that is allowed
        const uint64_t levels = 95 + Below(8);
        for (uint64_t i = 0; i < levels; ++i) inside += Tag(number, kStartGroup);
        for (uint64_t i = 0; i < levels; ++i) inside += Tag(number, kEndGroup);
      }
      while (depth < 5 && OneIn(2)) inside += UnknownField(depth + 1);
      return TagOf(number, kStartGroup) + inside + TagOf(OneIn(40) ? number + 1 : number, kEndGroup);
    }
    case 5:
      return TagOf(number, kStartGroup);
    case 6:
      return TagOf(number, kEndGroup);
    default:
      return TagOf(number, static_cast<int>(6 + Below(2)));
  }
}

std::vector<int64_t> RandomMessage::Shape() {
  std::vector<int64_t> shape(OneIn(100) ? 60 + Below(8) : Below(5));
  for (int64_t& size : shape) size = static_cast<int64_t>(1 + Below(shape.size() > 10 ? 1 : 4));
  if (!shape.empty() && OneIn(10)) shape[Below(shape.size())] = 0;
  if (!shape.empty() && OneIn(30)) shape[Below(shape.size())] = static_cast<int64_t>(AnyNumber());
  if (!shape.empty() && OneIn(30))
    shape[Below(shape.size())] = std::numeric_limits<int64_t>::max() >> Below(40);
  return shape;
}

// Packed, unpacked, or some of each.
void RandomMessage::AddShape(const std::vector<int64_t>& shape, Fields* fields) {
  size_t done = 0;
  while (done < shape.size() || (done == 0 && OneIn(4))) {
    const size_t left = shape.size() - done;
    const size_t count = OneIn(3) ? Below(left + 1) : left;
    if (OneIn(4)) {
      for (size_t i = 0; i < count; ++i) {
        fields->push_back(TagOf(2, kVarint) + Number(static_cast<uint64_t>(shape[done + i])));
      }
    } else {
      std::string packed;
      for (size_t i = 0; i < count; ++i) packed += Number(static_cast<uint64_t>(shape[done + i]));
      fields->push_back(Field(2, packed));
    }
    done += count;
    if (shape.empty()) break;
  }
}

// A Tensor, as one field of the request or as several that are to be merged.
void RandomMessage::AddTensor(uint32_t number, const std::vector<int64_t>& shape, Fields* request) {
  const uint64_t dtype = OneIn(60) ? AnyNumber() : 1 + Below(4);
  const uint64_t element = dtype == 4 ? 8 : dtype == 3 ? 4 : 2;
  uint64_t bytes = element;
  for (const int64_t size : shape) bytes = std::min<uint64_t>(bytes * static_cast<uint64_t>(size), 600);
  if (OneIn(60)) bytes = Below(bytes + 9);
  std::string data(bytes, '\0');
  for (char& byte : data) byte = static_cast<char>(random_());

  Fields fields;
  if (OneIn(20)) fields.push_back(Field(1, AnyNumber()));  // to be overwritten, unless it is shuffled
  if (OneIn(20)) fields.push_back(Field(3, std::string_view("overwritten")));
  fields.push_back(Field(1, dtype));
  AddShape(shape, &fields);
  if (bytes > 0 || OneIn(2)) fields.push_back(Field(3, data));
  if (OneIn(30)) fields.push_back(UnknownField(0));

  const size_t split = OneIn(8) ? Below(fields.size() + 1) : fields.size();
  const Fields head(fields.begin(), fields.begin() + static_cast<std::ptrdiff_t>(split));
  const Fields tail(fields.begin() + static_cast<std::ptrdiff_t>(split), fields.end());
  request->push_back(Field(number, Join(head, OneIn(10))));
  if (!tail.empty()) request->push_back(Field(number, Join(tail, OneIn(10))));
}

void RandomMessage::AddOptions(Fields* request) {
  if (OneIn(2)) request->push_back(Field(1, AnyNumber()));
  if (OneIn(2)) request->push_back(Field(4, OneIn(40) ? AnyNumber() : Below(5)));
  if (OneIn(3)) request->push_back(Field(5, OneIn(40) ? AnyNumber() : Below(2)));
  if (OneIn(3)) request->push_back(Field(6, OneIn(40) ? AnyNumber() : Below(2)));
  if (OneIn(8)) request->push_back(Field(7, OneIn(40) ? AnyNumber() : Below(2)));
  if (OneIn(8)) request->push_back(Field(8, OneIn(40) ? AnyNumber() : Below(2)));
  if (OneIn(4)) request->push_back(Field(100, OneIn(10) ? AnyNumber() : Below(1'000'000)));
  if (OneIn(4)) request->push_back(Field(101, OneIn(40) ? AnyNumber() : Below(2)));
  if (OneIn(10)) request->push_back(UnknownField(0));
}

std::string RandomMessage::Join(Fields fields, bool shuffle) {
  if (shuffle) std::shuffle(fields.begin(), fields.end(), random_);
  std::string bytes;
  for (const std::string& field : fields) bytes += field;
  return bytes;
}

std::string RandomMessage::Request() {
  Fields fields;
  const std::vector<int64_t> shape = Shape();
  if (OneIn(10)) AddOptions(&fields);  // a first opinion, mostly overwritten
  if (!OneIn(100)) AddTensor(2, shape, &fields);
  if (!OneIn(100)) AddTensor(3, OneIn(30) ? Shape() : shape, &fields);
  AddOptions(&fields);
  return Join(std::move(fields), OneIn(8));
}

std::string RandomMessage::Batch() {
  Fields fields;
  const uint64_t pairs = Below(OneIn(10) ? 30 : 6);
  for (uint64_t i = 0; i < pairs; ++i) fields.push_back(Field(1, OneIn(20) ? "" : Request()));
  if (OneIn(15)) fields.push_back(UnknownField(0));
  return Join(std::move(fields), true);
}

void RandomMessage::Damage(std::string* bytes) {
  for (uint64_t n = 1 + Below(3); n > 0 && !bytes->empty(); --n) {
    const size_t at = Below(bytes->size());
    const size_t from = Below(bytes->size());
    const size_t length = Below(std::min<size_t>(bytes->size() - from, 40) + 1);
    switch (Below(6)) {
      case 0:
        (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << Below(8)));
        break;
      case 1:
        (*bytes)[at] = static_cast<char>(random_());
        break;
      case 2:
        bytes->resize(at);
        break;
      case 3:
        bytes->erase(from, length);
        break;
      case 4:
        bytes->insert(at, bytes->substr(from, length));
        break;
      default:
        bytes->insert(at, OneIn(2) ? UnknownField(0) : Varint(AnyNumber(), 1 + Below(11)));
    }
  }
}

std::vector<size_t> RandomMessage::Cuts(size_t bytes) {
  std::vector<size_t> sizes;
  if (OneIn(4)) return sizes;
  const size_t largest = 1 + (OneIn(3) ? 2 : Below(bytes + 1));
  for (size_t cut = 0; cut < bytes && sizes.size() < 300;) {
    sizes.push_back(Below(largest + 1));
    cut += sizes.back();
  }
  return sizes;
}

}  // namespace kldiv::wire::testing
