#ifndef KLDIV_TESTS_BENCH_CLIENT_LOAD_H_
#define KLDIV_TESTS_BENCH_CLIENT_LOAD_H_

#include <string>

#include "tests/bench/client/request.h"
#include "tests/bench/client/results.h"

// Calls a server over and over. Each function returns when every call has ended; not empty: why it had to be
// given up, with a wrong answer or a failed call.
namespace kldiv::bench {

struct Load {
  std::string server;   // host:port
  int channels = 1;     // connections
  int outstanding = 1;  // calls of a closed loop, over all channels; at least one for each
};

// Unary calls over gRPC's core on one thread, the message sent from where it lies. Statuses other than OK are
// counted in an open loop and end a closed one.
std::string RunCalls(const Load& load, const Schedule& schedule, const Request& request, AnswerCheck& check,
                     Results& results);

// A stream on each channel, in the same way. A message's latency runs to the answer with the same position,
// which need not be its own.
std::string RunStreams(const Load& load, const Request& request, AnswerCheck& check, Results& results);

// Unary calls by the client library, with the tensors as a user has them.
std::string RunLibrary(const Load& load, const Request& request, const AnswerCheck& check, Results& results);

}  // namespace kldiv::bench

#endif  // KLDIV_TESTS_BENCH_CLIENT_LOAD_H_
