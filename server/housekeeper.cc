#include "server/housekeeper.h"

#include <pthread.h>

#include <utility>

namespace kldiv::server {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTick{100};

}  // namespace

Housekeeper::Housekeeper(std::function<void(SteadyClock::time_point now)> work)
    : work_(std::move(work)), thread_([this] { Loop(); }) {}

Housekeeper::~Housekeeper() {
  {
    MutexLock lock(mu_);
    stop_ = true;
  }
  wake_.NotifyAll();
  thread_.join();
}

void Housekeeper::Loop() {
  pthread_setname_np(pthread_self(), "kldiv-house");
  SteadyClock::time_point next = SteadyClock::now();
  for (;;) {
    next += kTick;
    {
      MutexLock lock(mu_);
      while (!stop_ && wake_.WaitUntil(mu_, next)) {
      }
      if (stop_) return;
    }
    work_(SteadyClock::now());
  }
}

}  // namespace kldiv::server
