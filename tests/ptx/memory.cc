#include "tests/ptx/memory.h"

#include <algorithm>

namespace kldiv::ptx {

Memory::Memory(const Module& module, const std::vector<Buffer>& buffers)
    : global_(buffers), shared_((module.shared_bytes + 7) / 8), shared_bytes_(module.shared_bytes) {
  for (const auto& [name, variable] : module.variables) {
    // The module is not the launch's to change, so a kernel that writes a variable fails.
    auto* begin = const_cast<uint64_t*>(variable.storage.data());
    (variable.is_constant ? constant_ : global_).push_back({begin, variable.bytes, /*writable=*/false});
  }
}

void Memory::ResetShared() { std::fill(shared_.begin(), shared_.end(), ~uint64_t{0}); }

uint8_t* Memory::Find(Space space, uint64_t address, uint32_t bytes, bool for_writing) {
  if (address % bytes != 0) return nullptr;
  if (space == Space::kShared) {
    if (bytes > shared_bytes_ || address > shared_bytes_ - bytes) return nullptr;
    return reinterpret_cast<uint8_t*>(shared_.data()) + address;
  }
  for (const Buffer& buffer : space == Space::kConstant ? constant_ : global_) {
    const auto begin = reinterpret_cast<uintptr_t>(buffer.begin);
    const bool inside = address >= begin && bytes <= buffer.bytes && address - begin <= buffer.bytes - bytes;
    if (inside && (buffer.writable || !for_writing))
      return static_cast<uint8_t*>(buffer.begin) + (address - begin);
  }
  return nullptr;
}

}  // namespace kldiv::ptx
