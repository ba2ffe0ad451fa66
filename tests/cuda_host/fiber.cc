#include "tests/cuda_host/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <boost/context/detail/fcontext.hpp>
#include <cstdlib>

namespace kldiv::cuda_host {
namespace {

namespace context = boost::context::detail;

constexpr size_t kStackBytes = size_t{128} << 10;
constexpr size_t kGuardBytes = size_t{4} << 10;  // below the stack: an overflow faults

void Unpoison(char* stack) {
  if (__asan_unpoison_memory_region != nullptr) __asan_unpoison_memory_region(stack, kStackBytes);
}

char* MapStack() {
  void* mapped = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED || mprotect(mapped, kGuardBytes, PROT_NONE) != 0) std::abort();
  char* stack = static_cast<char*>(mapped) + kGuardBytes;
  Unpoison(stack);  // what was mapped there before may have been abandoned
  return stack;
}

}  // namespace

// The first frame of every fiber.
struct Fiber::Entry {
  static void Run(context::transfer_t from) {
    auto* fiber = static_cast<Fiber*>(from.data);
    fiber->resumer_context_ = from.fctx;
    if (__sanitizer_finish_switch_fiber != nullptr) {
      __sanitizer_finish_switch_fiber(nullptr, &fiber->resumer_stack_, &fiber->resumer_stack_bytes_);
    }
    fiber->entry_(fiber->argument_);
    fiber->in_the_middle_ = false;
    fiber->SwitchBack(nullptr);  // null: AddressSanitizer may forget this stack's frames
    std::abort();
  }
};

Fiber::Fiber() : stack_(MapStack()), tsan_(std::make_unique<TsanThread>()) {}

Fiber::~Fiber() { munmap(stack_ - kGuardBytes, kGuardBytes + kStackBytes); }

void Fiber::Start(void (*entry)(void*), void* argument, size_t stagger) {
  if (in_the_middle_) {
    // An abandoned run leaves poisoned frames and a call stack that never unwound. The new thread of
    // ThreadSanitizer's comes after the old one, with which it shares the stack.
    Unpoison(stack_);
    tsan_->OrderBeforeCurrent();
    tsan_ = std::make_unique<TsanThread>();
    in_the_middle_ = false;
  }
  entry_ = entry;
  argument_ = argument;
  fake_stack_ = nullptr;
  context_ = context::make_fcontext(stack_ + kStackBytes - stagger, kStackBytes - stagger, &Entry::Run);
}

void Fiber::Resume() {
  void* fake_stack = nullptr;
  in_the_middle_ = true;
  resumer_tsan_ = TsanThread::Current();
  TsanThread::SwitchTo(tsan_->fiber());
  if (__sanitizer_start_switch_fiber != nullptr) {
    __sanitizer_start_switch_fiber(&fake_stack, stack_, kStackBytes);
  }
  context_ = context::jump_fcontext(context_, this).fctx;
  if (__sanitizer_finish_switch_fiber != nullptr) {
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
  }
}

void Fiber::SwitchBack(void** fake_stack) {
  TsanThread::SwitchTo(resumer_tsan_);
  if (__sanitizer_start_switch_fiber != nullptr) {
    __sanitizer_start_switch_fiber(fake_stack, resumer_stack_, resumer_stack_bytes_);
  }
  resumer_context_ = context::jump_fcontext(resumer_context_, nullptr).fctx;
  if (__sanitizer_finish_switch_fiber != nullptr) {
    __sanitizer_finish_switch_fiber(fake_stack_, &resumer_stack_, &resumer_stack_bytes_);
  }
}

void Fiber::Suspend() { SwitchBack(&fake_stack_); }

bool Fiber::OnStack(const void* address) const {
  const auto* at = static_cast<const char*>(address);
  return at >= stack_ && at < stack_ + kStackBytes;
}

}  // namespace kldiv::cuda_host
