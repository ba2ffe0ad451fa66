#include "client/load/clock.h"

#include <sys/prctl.h>

#include <condition_variable>
#include <mutex>
#include <utility>

namespace kldiv::load {

void SteadyClock::SleepUntil(Time time, std::stop_token stop) {
  if (time <= Now()) return;
  std::mutex mu;
  std::condition_variable_any never;
  std::unique_lock lock(mu);
  never.wait_until(lock, std::move(stop), time, [] { return false; });
}

void WakeOnTime() { prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); }

}  // namespace kldiv::load
