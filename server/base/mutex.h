#ifndef KLDIV_SERVER_BASE_MUTEX_H_
#define KLDIV_SERVER_BASE_MUTEX_H_

#include <chrono>
#include <condition_variable>
#include <mutex>

// std::mutex with clang's thread-safety annotations. Not absl::Mutex: the distribution builds it
// without TSan, which then reports races that are not there.
#if defined(__clang__)
#define KLDIV_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define KLDIV_THREAD_ANNOTATION(x)
#endif
#define KLDIV_GUARDED_BY(mu) KLDIV_THREAD_ANNOTATION(guarded_by(mu))
#define KLDIV_REQUIRES(mu) KLDIV_THREAD_ANNOTATION(requires_capability(mu))

namespace kldiv::server {

class KLDIV_THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  void lock() KLDIV_THREAD_ANNOTATION(acquire_capability()) { mu_.lock(); }
  void unlock() KLDIV_THREAD_ANNOTATION(release_capability()) { mu_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mu_;
};

class KLDIV_THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mu) KLDIV_THREAD_ANNOTATION(acquire_capability(mu)) : mu_(mu) { mu_.lock(); }
  ~MutexLock() KLDIV_THREAD_ANNOTATION(release_capability()) { mu_.unlock(); }

  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mu_;
};

// A condition variable for Mutex. Waits may end without a reason: test the condition in a loop.
class CondVar {
 public:
  // `mu` is held by the caller, before and after.
  void Wait(Mutex& mu) KLDIV_REQUIRES(mu) {
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  // The same, until `end` at the latest; false: it has passed.
  bool WaitUntil(Mutex& mu, std::chrono::steady_clock::time_point end) KLDIV_REQUIRES(mu) {
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    const bool in_time = cv_.wait_until(lock, end) == std::cv_status::no_timeout;
    lock.release();
    return in_time;
  }
  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_BASE_MUTEX_H_
