#include "proto/wire/fields.h"

namespace kldiv::wire {
namespace {

void AddDimension(uint64_t size, TensorFields& tensor) {
  if (tensor.dimensions < kMaxDimensions) tensor.shape[tensor.dimensions] = static_cast<int64_t>(size);
  ++tensor.dimensions;
}

bool ReadPackedShape(Reader& reader, TensorFields& tensor) {
  size_t length;
  if (!reader.ReadLength(&length)) return false;
  const size_t outer = reader.Enter(length);
  while (!reader.AtEnd()) {
    uint64_t size;
    if (!reader.ReadVarint(&size)) return false;
    AddDimension(size, tensor);
  }
  reader.Leave(outer);
  return true;
}

bool ReadTensorField(Reader& reader, uint32_t tag, TensorFields& tensor) {
  uint64_t value;
  switch (tag) {
    case Tag(1, WireType::kVarint):
      if (!reader.ReadVarint(&value)) return false;
      tensor.dtype = static_cast<int32_t>(value);
      return true;
    case Tag(2, WireType::kLengthDelimited):
      return ReadPackedShape(reader, tensor);
    case Tag(2, WireType::kVarint):
      if (!reader.ReadVarint(&value)) return false;
      AddDimension(value, tensor);
      return true;
    case Tag(3, WireType::kLengthDelimited): {
      size_t length;
      if (!reader.ReadLength(&length)) return false;
      tensor.data = reader.ReadBytes(length);
      return true;
    }
    default:
      return SkipUnknown(reader, tag, &tensor.unknown_tag);
  }
}

// A tensor that comes in several parts is the merger of them.
bool ReadTensor(Reader& reader, TensorFields& tensor) {
  size_t length;
  if (!reader.ReadLength(&length)) return false;
  const size_t outer = reader.Enter(length);
  tensor.present = true;
  while (!reader.AtEnd()) {
    uint32_t tag;
    if (!reader.ReadTag(&tag) || !ReadTensorField(reader, tag, tensor)) return false;
  }
  reader.Leave(outer);
  return true;
}

bool ReadEnum(Reader& reader, int32_t* number) {
  uint64_t value;
  if (!reader.ReadVarint(&value)) return false;
  *number = static_cast<int32_t>(value);
  return true;
}

bool ReadRequestField(Reader& reader, uint32_t tag, RequestFields& fields) {
  switch (tag) {
    case Tag(1, WireType::kVarint):
      return reader.ReadVarint(&fields.request_id);
    case Tag(2, WireType::kLengthDelimited):
      return ReadTensor(reader, fields.input);
    case Tag(3, WireType::kLengthDelimited):
      return ReadTensor(reader, fields.target);
    case Tag(4, WireType::kVarint):
      return ReadEnum(reader, &fields.reduction);
    case Tag(5, WireType::kVarint):
      return reader.ReadVarint(&fields.log_target);
    case Tag(6, WireType::kVarint):
      return ReadEnum(reader, &fields.zero_target);
    case Tag(7, WireType::kVarint):
      fields.has_size_average = true;
      return reader.ReadVarint(&fields.size_average);
    case Tag(8, WireType::kVarint):
      fields.has_reduce = true;
      return reader.ReadVarint(&fields.reduce);
    case Tag(100, WireType::kVarint): {
      uint64_t value;
      if (!reader.ReadVarint(&value)) return false;
      fields.timeout_ns = static_cast<int64_t>(value);
      return true;
    }
    case Tag(101, WireType::kVarint):
      return reader.ReadVarint(&fields.want_timing);
    default:
      return SkipUnknown(reader, tag, &fields.unknown_tag);
  }
}

}  // namespace

bool SkipUnknown(Reader& reader, uint32_t tag, uint32_t* first_unknown) {
  if (*first_unknown == 0 && FieldNumber(tag) < kFirstHint) *first_unknown = tag;
  return reader.SkipField(tag);
}

bool ReadRequest(Reader& reader, RequestFields& fields) {
  while (!reader.AtEnd()) {
    uint32_t tag;
    if (!reader.ReadTag(&tag) || !ReadRequestField(reader, tag, fields)) return false;
  }
  return true;
}

}  // namespace kldiv::wire
