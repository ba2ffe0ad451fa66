#ifndef KLDIV_TESTS_CUDA_HOST_BLOCK_H_
#define KLDIV_TESTS_CUDA_HOST_BLOCK_H_

#include <array>
#include <memory>
#include <vector>

#include "tests/cuda_host/kernel.h"
#include "tests/cuda_host/sanitizer_hooks.h"
#include "tests/cuda_host/warp.h"

namespace kldiv::cuda_host {

// Orders a kernel's threads after what its stream did before the launch, and before what it does afterwards.
struct LaunchMarks {
  OrderMark start;
  OrderMark end;
};

// One block of threads while it executes. Lives on the heap, so that its marks are new to ThreadSanitizer.
class Block {
 public:
  // `threads[i]` executes thread i. All arguments outlive the block.
  Block(const KernelLaunch& launch, uint3 index, DeviceThread* const* threads, LaunchMarks& marks,
        KernelOutcome& outcome);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // Until every thread has ended, or outcome.error is set.
  void Run(Random& random);

  // For the thread that runs at this moment.
  DeviceThread& current() { return *current_; }
  uint64_t MeetWarp(unsigned mask, WarpOperation operation, uint64_t value, int source_lane, int line);
  int MeetBlock(int predicate, int line);
  void* SharedMemory(const void* declaration, size_t bytes);
  void* DynamicSharedMemory();

  // Records a fault of `thread`.
  void SetFault(const DeviceThread& thread, cudaError_t error, const char* what, int line);

 private:
  struct SharedArray {
    const void* declaration;
    void* memory;
  };

  static void ThreadMain(void* block);
  bool RunReadyThreads(const int* order);
  void AfterRunning(DeviceThread& thread);
  bool CompleteBarrier();
  void ReportDeadlock();

  const KernelLaunch& launch_;
  DeviceThread* const* const threads_;
  LaunchMarks& marks_;
  KernelOutcome& outcome_;
  const int thread_count_;

  DeviceThread* current_ = nullptr;
  int running_ = 0;  // threads that have not ended
  std::array<Warp, kMaxThreadsPerBlock / 32> warps_;
  int barrier_count_ = 0;
  unsigned barrier_generation_ = 0;
  std::array<OrderMark, 2> barrier_marks_;
  std::vector<SharedArray> shared_;
};

}  // namespace kldiv::cuda_host

#endif  // KLDIV_TESTS_CUDA_HOST_BLOCK_H_
