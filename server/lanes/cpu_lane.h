#ifndef KLDIV_SERVER_LANES_CPU_LANE_H_
#define KLDIV_SERVER_LANES_CPU_LANE_H_

#include <memory>

#include "server/lanes/lane.h"

namespace kldiv::server {

// A lane that evaluates on the thread that runs it, reading tensor bytes where they lie. Sets the thread's
// floating-point control register to its default at each Run. Never fails.
std::unique_ptr<Lane> MakeCpuLane();

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_LANES_CPU_LANE_H_
