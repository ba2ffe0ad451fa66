#ifndef KLDIV_CLIENT_LOAD_CLOCK_H_
#define KLDIV_CLIENT_LOAD_CLOCK_H_

#include <chrono>
#include <stop_token>

// Time as the load tester sees it: the monotonic clock, or one that a test moves.
namespace kldiv::load {

using Time = std::chrono::steady_clock::time_point;
using Duration = std::chrono::nanoseconds;

inline double ToSeconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  virtual Time Now() = 0;

  // Returns at `time`, at once when it has passed, or when a stop is requested.
  virtual void SleepUntil(Time time, std::stop_token stop) = 0;
};

// The monotonic clock.
class SteadyClock : public Clock {
 public:
  Time Now() override { return std::chrono::steady_clock::now(); }
  void SleepUntil(Time time, std::stop_token stop) override;
};

// Has the kernel wake the calling thread when it asked for it; by default sleeps end 50 us late.
void WakeOnTime();

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_CLOCK_H_
