// Any bytes are either refused or an array that lies within them and can be written again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "client/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using kldiv::npy::Array;
  using kldiv::npy::Parse;
  const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  const absl::StatusOr<Array> array = Parse(file);
  if (!array.ok()) {
    if (array.status().code() != absl::StatusCode::kInvalidArgument || array.status().message().empty())
      abort();
    return 0;
  }
  if (array->data.data() + array->data.size() != file.data() + file.size()) abort();
  if (static_cast<int64_t>(array->data.size()) != array->elements * kldiv::npy::ElementSize(array->dtype))
    abort();

  const std::string header = kldiv::npy::Header(array->dtype, array->shape);
  std::vector<std::byte> again(header.size() + array->data.size());
  for (size_t i = 0; i < header.size(); ++i) again[i] = static_cast<std::byte>(header[i]);
  for (size_t i = 0; i < array->data.size(); ++i) again[header.size() + i] = array->data[i];
  const absl::StatusOr<Array> read_again = Parse(again);
  if (!read_again.ok() || read_again->dtype != array->dtype || read_again->shape != array->shape) abort();
  return 0;
}
