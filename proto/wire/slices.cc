#include "proto/wire/slices.h"

#include <cstring>

namespace kldiv::wire {

void ByteCursor::Copy(size_t bytes, void* out) {
  auto* to = static_cast<uint8_t*>(out);
  while (bytes > 0) {
    const Slice here = Contiguous();
    const size_t step = here.size() < bytes ? here.size() : bytes;
    std::memcpy(to, here.data(), step);
    Skip(step);
    to += step;
    bytes -= step;
  }
}

}  // namespace kldiv::wire
