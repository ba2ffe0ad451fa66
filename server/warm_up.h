#ifndef KLDIV_SERVER_WARM_UP_H_
#define KLDIV_SERVER_WARM_UP_H_

namespace kldiv::server {

// Evaluates a little of every dtype, formula and reduction on the calling thread, so that the first request
// finds the instruction set chosen and its code in memory. Takes well under a millisecond of computing.
void WarmUp();

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_WARM_UP_H_
