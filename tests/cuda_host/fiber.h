#ifndef KLDIV_TESTS_CUDA_HOST_FIBER_H_
#define KLDIV_TESTS_CUDA_HOST_FIBER_H_

#include <cstddef>
#include <memory>

#include "tests/cuda_host/sanitizer_hooks.h"

namespace kldiv::cuda_host {

// A function with a stack of its own, which runs when it is resumed and until it suspends itself.
//
// The switch is Boost.Context's, the sanitizer annotations are ours: Boost 1.74 has them for AddressSanitizer
// only, in its ucontext form, which Debian does not build and which costs two system calls a switch, and has
// none for ThreadSanitizer.
//
// Not thread-safe; may be resumed from different threads, one after the other.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next Resume enters `entry(argument)` from its beginning; the fiber ends when it returns. Whatever the
  // fiber was in the middle of is abandoned. `stagger` moves the start of the stack a little, so that many
  // fibers' frames do not share cache sets.
  void Start(void (*entry)(void*), void* argument, size_t stagger);

  // Runs the fiber until it suspends or ends.
  void Resume();

  // Called on the fiber itself: back to whoever resumed it.
  void Suspend();

  // Whether `address` lies on this fiber's stack.
  bool OnStack(const void* address) const;

 private:
  struct Entry;
  void SwitchBack(void** fake_stack);

  char* const stack_;
  std::unique_ptr<TsanThread> tsan_;
  bool in_the_middle_ = false;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  void* context_ = nullptr;     // where Resume continues
  void* fake_stack_ = nullptr;  // AddressSanitizer's

  // Whoever resumed it.
  void* resumer_context_ = nullptr;
  void* resumer_tsan_ = nullptr;
  const void* resumer_stack_ = nullptr;
  size_t resumer_stack_bytes_ = 0;
};

}  // namespace kldiv::cuda_host

#endif  // KLDIV_TESTS_CUDA_HOST_FIBER_H_
