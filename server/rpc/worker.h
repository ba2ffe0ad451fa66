#ifndef KLDIV_SERVER_RPC_WORKER_H_
#define KLDIV_SERVER_RPC_WORKER_H_

#include <deque>
#include <functional>
#include <thread>

#include "server/base/mutex.h"

namespace kldiv::server {

// A thread for what would hold up a polling thread. Runs work in order.
//
// Thread-safe. The destructor runs what is left.
class Worker {
 public:
  Worker();
  ~Worker();

  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void Run(std::function<void()> work);

 private:
  void Loop();

  Mutex mu_;
  CondVar wake_;
  std::deque<std::function<void()>> queue_ KLDIV_GUARDED_BY(mu_);
  bool stop_ KLDIV_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_WORKER_H_
