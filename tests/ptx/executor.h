#ifndef KLDIV_TESTS_PTX_EXECUTOR_H_
#define KLDIV_TESTS_PTX_EXECUTOR_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/ptx/module.h"

namespace kldiv::ptx {

// Memory of the caller's that a kernel may access.
struct Buffer {
  void* begin = nullptr;
  size_t bytes = 0;
  bool writable = false;
};

struct Launch {
  std::string kernel;   // its name, or a part of it that no other kernel's name has
  uint32_t blocks = 1;  // one dimension each
  uint32_t threads = 1;
  std::vector<uint64_t> arguments;  // of at most 8 bytes each; pointers are the host's
  std::vector<Buffer> buffers;
  uint64_t seed = 1;  // of the order of threads and of the NaN payloads
};

struct Counts {
  int64_t instructions = 0;
  int64_t fp64_operations = 0;  // fma, add, sub and mul
};

// Executes the kernel with the arithmetic of the PTX manual: fma is fused, everything else rounds once, a
// result that is a NaN has a random sign and payload. Blocks run one after the other; the threads of one in a
// random order, each until it waits. Registers and shared memory begin with arbitrary contents.
//
// INVALID_ARGUMENT when there is no such kernel or the arguments do not fit. FAILED_PRECONDITION, naming the
// line and the thread, when the kernel accesses memory outside of its buffers or misaligned, writes what it
// may not, waits for threads that never come, shuffles with lanes that are not there, or traps. The outputs
// are then incomplete.
absl::Status Execute(const Module& module, const Launch& launch, Counts* counts = nullptr);

}  // namespace kldiv::ptx

#endif  // KLDIV_TESTS_PTX_EXECUTOR_H_
