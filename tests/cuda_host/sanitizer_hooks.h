#ifndef KLDIV_TESTS_CUDA_HOST_SANITIZER_HOOKS_H_
#define KLDIV_TESTS_CUDA_HOST_SANITIZER_HOOKS_H_

#include <cstddef>

// What the executor tells AddressSanitizer and ThreadSanitizer. The executor itself is compiled without them,
// so that its own bookkeeping neither is checked nor orders the accesses of the code under test; the hooks
// are weak symbols, which a binary without that sanitizer leaves null.
//
// To ThreadSanitizer every stream and every CUDA thread is a thread of its own, and only what the CUDA model
// orders is ordered: enqueueing before executing, an operation before the next of its stream, a barrier, a
// wait.

extern "C" {
#define KLDIV_WEAK __attribute__((weak))
KLDIV_WEAK void* __tsan_get_current_fiber();
KLDIV_WEAK void* __tsan_create_fiber(unsigned flags);
KLDIV_WEAK void __tsan_switch_to_fiber(void* fiber, unsigned flags);
KLDIV_WEAK void __tsan_destroy_fiber(void* fiber);
KLDIV_WEAK void __tsan_acquire(void* address);
KLDIV_WEAK void __tsan_release(void* address);
KLDIV_WEAK void AnnotateIgnoreReadsBegin(const char* file, int line);
KLDIV_WEAK void AnnotateIgnoreReadsEnd(const char* file, int line);
KLDIV_WEAK void AnnotateIgnoreWritesBegin(const char* file, int line);
KLDIV_WEAK void AnnotateIgnoreWritesEnd(const char* file, int line);
KLDIV_WEAK void AnnotateIgnoreSyncBegin(const char* file, int line);
KLDIV_WEAK void AnnotateIgnoreSyncEnd(const char* file, int line);
KLDIV_WEAK void __sanitizer_start_switch_fiber(void** fake_stack, const void* stack, size_t bytes);
KLDIV_WEAK void __sanitizer_finish_switch_fiber(void* fake_stack, const void** old_stack, size_t* old_bytes);
KLDIV_WEAK void __asan_unpoison_memory_region(const volatile void* address, size_t bytes);
#undef KLDIV_WEAK
}

namespace kldiv::cuda_host {

// A point in the program's order: what was done before Release happens before what is done after Acquire. A
// fresh one belongs on the heap, because the sanitizer forgets a mark only when its memory is freed.
struct OrderMark {
  void Acquire() {
    if (__tsan_acquire != nullptr) __tsan_acquire(this);
  }
  void Release() {
    if (__tsan_release != nullptr) __tsan_release(this);
  }
  char unused = 0;
};

// ThreadSanitizer's idea of a thread, which the caller switches to and from. Null without the sanitizer.
class TsanThread {
 public:
  TsanThread() : fiber_(__tsan_create_fiber != nullptr ? __tsan_create_fiber(0) : nullptr) {}
  ~TsanThread() {
    if (fiber_ != nullptr) __tsan_destroy_fiber(fiber_);
  }
  TsanThread(const TsanThread&) = delete;
  TsanThread& operator=(const TsanThread&) = delete;

  static void* Current() {
    return __tsan_get_current_fiber != nullptr ? __tsan_get_current_fiber() : nullptr;
  }
  // Switches without ordering anything.
  static void SwitchTo(void* fiber) {
    if (__tsan_switch_to_fiber != nullptr) __tsan_switch_to_fiber(fiber, /*flags: no synchronization*/ 1);
  }
  // All that this thread has done happens before what the caller does next.
  void OrderBeforeCurrent() {
    if (fiber_ == nullptr) return;
    void* caller = Current();
    __tsan_switch_to_fiber(fiber_, 0);
    __tsan_switch_to_fiber(caller, 0);
  }
  void* fiber() const { return fiber_; }

 private:
  void* fiber_;
};

// While one lives, ThreadSanitizer sees nothing of what this thread does: neither accesses nor
// synchronization.
class ScopedUnseen {
 public:
  ScopedUnseen() {
    if (AnnotateIgnoreSyncBegin == nullptr) return;
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
    AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
  }
  ~ScopedUnseen() {
    if (AnnotateIgnoreSyncEnd == nullptr) return;
    AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  ScopedUnseen(const ScopedUnseen&) = delete;
  ScopedUnseen& operator=(const ScopedUnseen&) = delete;
};

}  // namespace kldiv::cuda_host

#endif  // KLDIV_TESTS_CUDA_HOST_SANITIZER_HOOKS_H_
