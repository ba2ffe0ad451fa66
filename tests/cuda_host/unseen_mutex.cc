#include "tests/cuda_host/unseen_mutex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

namespace kldiv::cuda_host {
namespace {

// The compiler's builtins rather than std::atomic: out of line, the linker could take an instrumented copy of
// its functions from another object file.
void FutexWait(int* word, int expected) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void FutexWake(int* word, int waiters) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, waiters, nullptr, nullptr, 0);
}

}  // namespace

void UnseenMutex::Lock() {
  int expected = 0;
  if (__atomic_compare_exchange_n(&state_, &expected, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return;
  while (__atomic_exchange_n(&state_, 2, __ATOMIC_ACQUIRE) != 0) FutexWait(&state_, 2);
}

void UnseenMutex::Unlock() {
  if (__atomic_exchange_n(&state_, 0, __ATOMIC_RELEASE) == 2) FutexWake(&state_, 1);
}

void UnseenCondition::Wait(UnseenMutex& mutex) {
  const int generation = __atomic_load_n(&generation_, __ATOMIC_RELAXED);
  mutex.Unlock();
  FutexWait(&generation_, generation);
  mutex.Lock();
}

void UnseenCondition::NotifyAll() {
  __atomic_fetch_add(&generation_, 1, __ATOMIC_RELEASE);
  FutexWake(&generation_, INT_MAX);
}

}  // namespace kldiv::cuda_host
