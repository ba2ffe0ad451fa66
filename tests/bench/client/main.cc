// bench_client: calls one server over and over and prints what it measured as one line of JSON. Exit codes:
// 0, 1 when an answer was wrong or a call failed, 2 for bad usage.

#include <cstdio>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "tests/bench/client/load.h"

ABSL_FLAG(std::string, server, "127.0.0.1:50051", "host:port");
ABSL_FLAG(std::string, method, "evaluate", "evaluate, batch or stream");
ABSL_FLAG(std::string, via, "raw", "raw: bytes over gRPC's core; library: tensors by the client library");
ABSL_FLAG(std::string, verify, "bits", "bits: equal to the reference; close: to 1e-5; status: any answer");
ABSL_FLAG(int64_t, elements, 1000, "of each tensor");
ABSL_FLAG(int, pairs, 1, "in each message of a batch");
ABSL_FLAG(int, channels, 1, "connections");
ABSL_FLAG(int, outstanding, 1, "calls or messages under way in a closed loop, over all channels");
ABSL_FLAG(double, rate, 0, "calls a second of an open loop; 0: a closed loop");
ABSL_FLAG(double, warm_up, 0.1, "seconds");
ABSL_FLAG(double, seconds, 1, "of measuring");
ABSL_FLAG(int64_t, calls, 0, "to measure, in place of seconds");

namespace kldiv::bench {
namespace {

constexpr int kUsage = 2;

Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// The one of `values` that is named by the flag, or the number of them.
template <size_t n>
size_t Choice(const absl::Flag<std::string>& flag, const char* const (&values)[n]) {
  const std::string value = absl::GetFlag(flag);
  for (size_t i = 0; i < n; ++i) {
    if (value == values[i]) return i;
  }
  std::fprintf(stderr, "bench_client: --%s=%s is not known\n", std::string(flag.Name()).c_str(),
               value.c_str());
  return n;
}

int Run() {
  const size_t kind = Choice(FLAGS_method, {"evaluate", "batch", "stream"});
  const size_t verify = Choice(FLAGS_verify, {"bits", "close", "status"});
  const size_t via = Choice(FLAGS_via, {"raw", "library"});
  const Load load{absl::GetFlag(FLAGS_server), absl::GetFlag(FLAGS_channels),
                  absl::GetFlag(FLAGS_outstanding)};
  if (kind == 3 || verify == 3 || via == 2 || load.channels < 1 || load.outstanding < load.channels)
    return kUsage;
  const Schedule schedule{Seconds(absl::GetFlag(FLAGS_warm_up)), Seconds(absl::GetFlag(FLAGS_seconds)),
                          absl::GetFlag(FLAGS_calls), absl::GetFlag(FLAGS_rate)};
  const int pairs = absl::GetFlag(FLAGS_pairs);
  const Request request(static_cast<Kind>(kind), absl::GetFlag(FLAGS_elements), pairs);
  AnswerCheck check(request, pairs, static_cast<Verify>(verify));
  Results results(schedule);
  const std::string failure = via == 1 ? RunLibrary(load, request, check, results)
                              : request.kind() == Kind::kEvaluateStream
                                  ? RunStreams(load, request, check, results)
                                  : RunCalls(load, schedule, request, check, results);
  if (!failure.empty()) {
    std::fprintf(stderr, "bench_client: %s\n", failure.c_str());
    return 1;
  }
  std::printf("%s\n", results.Json().c_str());
  return 0;
}

}  // namespace
}  // namespace kldiv::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("calls one server over and over; one line of JSON on stdout");
  absl::ParseCommandLine(argc, argv);
  return kldiv::bench::Run();
}
