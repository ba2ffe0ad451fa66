#ifndef KLDIV_TESTS_CUDA_HOST_WARP_H_
#define KLDIV_TESTS_CUDA_HOST_WARP_H_

#include <array>
#include <cstdint>

#include "tests/cuda_host/device_thread.h"
#include "tests/cuda_host/fiber.h"
#include "tests/cuda_host/sanitizer_hooks.h"

namespace kldiv::cuda_host {

enum class ThreadState : uint8_t { kReady, kAtWarpOperation, kAtBarrier, kEnded };

// One CUDA thread and what it waits for.
struct DeviceThread {
  ThreadPosition position{};
  Fiber fiber;
  ThreadState state = ThreadState::kEnded;
  int line = 0;  // of the operation that it waits at

  // At a warp operation.
  unsigned mask = 0;
  WarpOperation operation = WarpOperation::kSync;
  uint64_t value = 0;
  int source_lane = 0;
  uint64_t answer = 0;

  int predicate = 0;  // at a barrier
};

// The up to 32 threads of a warp, and the operations at which some of them meet.
class Warp {
 public:
  void Reset();
  void SetLane(int lane, DeviceThread* thread);

  // The lane waits at its operation, or has ended. Makes ready the lanes that now need wait no longer.
  //
  // Returns a lane that came with another mask or operation than a lane that it has to meet; null otherwise.
  DeviceThread* Arrive(int lane);
  DeviceThread* End(int lane);

  // Orders the memory accesses around a kSync.
  OrderMark& sync_mark() { return sync_marks_[sync_generation_ & 1]; }

 private:
  DeviceThread* CompleteGroup(unsigned mask);
  uint64_t Answer(const DeviceThread& thread, unsigned present, unsigned ballot) const;

  std::array<DeviceThread*, 32> lanes_{};
  unsigned alive_ = 0;
  unsigned waiting_ = 0;
  unsigned sync_generation_ = 0;
  std::array<OrderMark, 2> sync_marks_;
};

}  // namespace kldiv::cuda_host

#endif  // KLDIV_TESTS_CUDA_HOST_WARP_H_
