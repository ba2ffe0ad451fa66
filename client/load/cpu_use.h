#ifndef KLDIV_CLIENT_LOAD_CPU_USE_H_
#define KLDIV_CLIENT_LOAD_CPU_USE_H_

#include <cstdint>
#include <map>

#include "client/load/clock.h"

namespace kldiv::load {

// Processor time that this process has used, and when.
struct CpuTimes {
  Time at;
  std::map<int, double> thread_seconds;  // by thread
  double process_seconds = 0;
};

// Now. Without threads where /proc does not tell.
CpuTimes ReadCpuTimes();

// Shares of one core, between two readings.
struct CpuUse {
  double busiest_thread = 0;
  double process = 0;
};
CpuUse UseBetween(const CpuTimes& before, const CpuTimes& after);

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_CPU_USE_H_
