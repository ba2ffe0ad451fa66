#include "client/load/schedule.h"

#include <cmath>

namespace kldiv::load {

Duration Schedule::Next() {
  if (arrivals_ == Arrivals::kConstant) {
    seconds_ = static_cast<double>(arrived_++) / rate_;  // Not a sum, whose rounding errors would grow.
  } else {
    // Not the library's distribution, which the standard leaves free.
    const double uniform = static_cast<double>(random_() >> 11) * 0x1p-53;
    seconds_ -= std::log1p(-uniform) / rate_;
  }
  return Duration(std::llround(seconds_ * 1e9));
}

}  // namespace kldiv::load
