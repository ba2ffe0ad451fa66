#include "server/rpc/worker.h"

#include <utility>

namespace kldiv::server {

Worker::Worker() : thread_([this] { Loop(); }) {}

Worker::~Worker() {
  {
    MutexLock lock(mu_);
    stop_ = true;
  }
  wake_.NotifyOne();
  thread_.join();
}

void Worker::Run(std::function<void()> work) {
  {
    MutexLock lock(mu_);
    queue_.push_back(std::move(work));
  }
  wake_.NotifyOne();
}

void Worker::Loop() {
  for (;;) {
    std::function<void()> work;
    {
      MutexLock lock(mu_);
      while (queue_.empty() && !stop_) wake_.Wait(mu_);
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace kldiv::server
