#ifndef KLDIV_CLIENT_LOAD_SCHEDULE_H_
#define KLDIV_CLIENT_LOAD_SCHEDULE_H_

#include <cstdint>
#include <random>

#include "client/load/clock.h"

namespace kldiv::load {

enum class Arrivals : uint8_t {
  kConstant,  // as far apart as each other
  kPoisson,   // independent of each other, as those of many users
};

// When the calls of an open loop are due. The same seed gives the same times. Not thread-safe.
class Schedule {
 public:
  // `rate`: arrivals a second, positive.
  Schedule(Arrivals arrivals, double rate, uint64_t seed) : arrivals_(arrivals), rate_(rate), random_(seed) {}

  // From the start of the run to the next arrival; never less than the time before. A constant schedule
  // begins at 0.
  Duration Next();

 private:
  const Arrivals arrivals_;
  const double rate_;
  std::mt19937_64 random_;
  uint64_t arrived_ = 0;
  double seconds_ = 0;
};

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_SCHEDULE_H_
