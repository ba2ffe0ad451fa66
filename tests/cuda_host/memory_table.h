#ifndef KLDIV_TESTS_CUDA_HOST_MEMORY_TABLE_H_
#define KLDIV_TESTS_CUDA_HOST_MEMORY_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <map>

namespace kldiv::cuda_host {

enum class MemoryKind : uint8_t {
  kPageable,  // the host's, not allocated here
  kPinned,
  kDevice,
};

// What lies at an address.
struct MemoryPlace {
  MemoryKind kind = MemoryKind::kPageable;
  int device = 0;         // of kDevice
  size_t bytes_left = 0;  // to the end of the allocation; of no meaning for kPageable
};

// Device and pinned memory: both are the host's, of exactly the size asked for (AddressSanitizer sees the
// first byte beyond), aligned to 256 bytes and filled with 0xff, a NaN in every format.
//
// Guarded device memory can be made inaccessible, ends (up to the alignment) at a page that is never
// accessible, and begins at one.
//
// Not thread-safe.
class MemoryTable {
 public:
  explicit MemoryTable(bool guard_device_memory) : guard_(guard_device_memory) {}

  // Null when the host has no memory left. bytes >= 1; `device` for device memory.
  void* Allocate(MemoryKind kind, int device, size_t bytes);

  // False when no allocation of that kind begins at `begin`.
  bool Release(void* begin, MemoryKind kind);

  // Releases whatever device memory the device has, and with `pinned` the pinned memory too.
  void ReleaseAll(int device, bool pinned);

  MemoryPlace Find(const void* address) const;

  int64_t LiveCount(MemoryKind kind) const;
  size_t DeviceBytes(int device) const;

  // Opens or closes all guarded memory.
  void SetAccessible(bool accessible);

 private:
  struct Allocation {
    MemoryKind kind;
    int device;
    size_t bytes;
    void* mapping;  // null unless guarded
    size_t mapping_bytes;
  };
  using Allocations = std::map<const char*, Allocation>;

  void* AllocateGuarded(int device, size_t bytes);
  Allocations::iterator Erase(Allocations::iterator at);

  const bool guard_;
  bool accessible_ = false;
  Allocations allocations_;  // by where they begin
};

}  // namespace kldiv::cuda_host

#endif  // KLDIV_TESTS_CUDA_HOST_MEMORY_TABLE_H_
