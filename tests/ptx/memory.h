#ifndef KLDIV_TESTS_PTX_MEMORY_H_
#define KLDIV_TESTS_PTX_MEMORY_H_

#include <cstdint>
#include <vector>

#include "tests/ptx/executor.h"
#include "tests/ptx/module.h"

namespace kldiv::ptx {

// The address spaces of a launch. Constant and global addresses are the host's, shared ones count from 0.
class Memory {
 public:
  Memory(const Module& module, const std::vector<Buffer>& buffers);

  // New contents, the same in every byte.
  void ResetShared();

  // Where `bytes` bytes at that address lie; null when they may not be accessed so or are not aligned to
  // their size.
  uint8_t* Find(Space space, uint64_t address, uint32_t bytes, bool for_writing);

 private:
  std::vector<Buffer> global_;
  std::vector<Buffer> constant_;
  std::vector<uint64_t> shared_;
  uint32_t shared_bytes_;
};

}  // namespace kldiv::ptx

#endif  // KLDIV_TESTS_PTX_MEMORY_H_
