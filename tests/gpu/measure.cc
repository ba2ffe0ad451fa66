#include "tests/gpu/measure.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace kldiv::cuda::testing {

void Require(const absl::Status& status) {
  if (status.ok()) return;
  std::fflush(stdout);
  std::fprintf(stderr, "gpu_benchmark: %s\n", std::string(status.message()).c_str());
  // Not std::exit: other threads may be at work, and static objects are theirs too.
  std::_Exit(1);
}

double SecondsOf(const Repetitions& repetitions, const std::function<absl::Status(int64_t calls)>& run) {
  const auto seconds = [&run](int64_t calls) {
    const auto start = std::chrono::steady_clock::now();
    Require(run(calls));
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  int64_t calls = 1;
  while (seconds(calls) < repetitions.round_seconds) calls *= 2;
  std::vector<double> rounds;
  for (int i = 0; i < repetitions.rounds; ++i) rounds.push_back(seconds(calls) / static_cast<double>(calls));
  std::sort(rounds.begin(), rounds.end());
  return rounds[rounds.size() / 2];
}

}  // namespace kldiv::cuda::testing
