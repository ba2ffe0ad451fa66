#ifndef KLDIV_TESTS_CUDA_HOST_UNSEEN_MUTEX_H_
#define KLDIV_TESTS_CUDA_HOST_UNSEEN_MUTEX_H_

#include "tests/cuda_host/sanitizer_hooks.h"

namespace kldiv::cuda_host {

// A mutex and a condition that ThreadSanitizer does not know, so that the executor's own locking orders
// nothing for the code under test. std::mutex would, even in code that is not instrumented.
class UnseenMutex {
 public:
  void Lock();
  void Unlock();

 private:
  int state_ = 0;  // 0 free, 1 held, 2 held and waited for
};

class UnseenCondition {
 public:
  // Releases `mutex`, waits for a notification or for nothing at all, and takes it again.
  void Wait(UnseenMutex& mutex);
  void NotifyAll();

 private:
  int generation_ = 0;
};

// Holds the mutex; what the thread does meanwhile is unseen.
class UnseenLock {
 public:
  explicit UnseenLock(UnseenMutex& mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~UnseenLock() { mutex_.Unlock(); }
  UnseenLock(const UnseenLock&) = delete;
  UnseenLock& operator=(const UnseenLock&) = delete;

 private:
  UnseenMutex& mutex_;
  ScopedUnseen unseen_;
};

}  // namespace kldiv::cuda_host

#endif  // KLDIV_TESTS_CUDA_HOST_UNSEEN_MUTEX_H_
