#include "tests/cuda_host/memory_table.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

namespace kldiv::cuda_host {
namespace {

constexpr size_t kAlignment = 256;  // cudaMalloc's
constexpr size_t kPage = 4096;

size_t RoundUp(size_t bytes, size_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

}  // namespace

void* MemoryTable::Allocate(MemoryKind kind, int device, size_t bytes) {
  if (kind == MemoryKind::kDevice && guard_) return AllocateGuarded(device, bytes);
  void* memory = nullptr;
  if (posix_memalign(&memory, kAlignment, bytes) != 0) return nullptr;
  std::memset(memory, 0xff, bytes);
  allocations_[static_cast<char*>(memory)] = {kind, device, bytes, nullptr, 0};
  return memory;
}

void* MemoryTable::AllocateGuarded(int device, size_t bytes) {
  const size_t inner = RoundUp(bytes, kPage);
  const size_t mapped = kPage + inner + kPage;
  void* mapping = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  char* open = static_cast<char*>(mapping) + kPage;
  if (mprotect(open, inner, PROT_READ | PROT_WRITE) != 0) std::abort();
  std::memset(open, 0xff, inner);
  if (!accessible_ && mprotect(open, inner, PROT_NONE) != 0) std::abort();
  char* memory = open + inner - RoundUp(bytes, kAlignment);
  allocations_[memory] = {MemoryKind::kDevice, device, bytes, mapping, mapped};
  return memory;
}

MemoryTable::Allocations::iterator MemoryTable::Erase(Allocations::iterator at) {
  const Allocation& allocation = at->second;
  if (allocation.mapping != nullptr) {
    munmap(allocation.mapping, allocation.mapping_bytes);
  } else {
    std::free(const_cast<char*>(at->first));
  }
  return allocations_.erase(at);
}

bool MemoryTable::Release(void* begin, MemoryKind kind) {
  const auto at = allocations_.find(static_cast<char*>(begin));
  if (at == allocations_.end() || at->second.kind != kind) return false;
  Erase(at);
  return true;
}

void MemoryTable::ReleaseAll(int device, bool pinned) {
  for (auto at = allocations_.begin(); at != allocations_.end();) {
    const bool is_device = at->second.kind == MemoryKind::kDevice;
    at = (is_device ? at->second.device == device : pinned) ? Erase(at) : std::next(at);
  }
}

MemoryPlace MemoryTable::Find(const void* address) const {
  const auto* at = static_cast<const char*>(address);
  auto next = allocations_.upper_bound(at);
  if (next == allocations_.begin()) return {};
  const auto& [begin, allocation] = *std::prev(next);
  if (at >= begin + allocation.bytes) return {};
  return {allocation.kind, allocation.device, static_cast<size_t>(begin + allocation.bytes - at)};
}

int64_t MemoryTable::LiveCount(MemoryKind kind) const {
  int64_t count = 0;
  for (const auto& [begin, allocation] : allocations_) count += allocation.kind == kind ? 1 : 0;
  return count;
}

size_t MemoryTable::DeviceBytes(int device) const {
  size_t bytes = 0;
  for (const auto& [begin, allocation] : allocations_) {
    if (allocation.kind == MemoryKind::kDevice && allocation.device == device) bytes += allocation.bytes;
  }
  return bytes;
}

void MemoryTable::SetAccessible(bool accessible) {
  accessible_ = accessible;
  for (const auto& [begin, allocation] : allocations_) {
    if (allocation.mapping == nullptr) continue;
    char* open = static_cast<char*>(allocation.mapping) + kPage;
    const int protection = accessible ? PROT_READ | PROT_WRITE : PROT_NONE;
    if (mprotect(open, allocation.mapping_bytes - 2 * kPage, protection) != 0) std::abort();
  }
}

}  // namespace kldiv::cuda_host
