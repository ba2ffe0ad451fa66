#ifndef KLDIV_TESTS_GPU_MEASURE_H_
#define KLDIV_TESTS_GPU_MEASURE_H_

#include <cstdint>
#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// What a benchmark of a device is made of.
namespace kldiv::cuda::testing {

// Ends the program with exit code 1 and one line about it, unless the status is OK. From any thread.
void Require(const absl::Status& status);

template <class T>
T Require(absl::StatusOr<T> value) {
  Require(value.status());
  return *std::move(value);
}

struct Repetitions {
  int rounds = 7;               // at least 1
  double round_seconds = 0.03;  // a round makes as many calls as take so long
};

// Seconds of one call, by the monotonic clock: the median of the rounds. `run` makes so many calls and waits
// for them.
double SecondsOf(const Repetitions& repetitions, const std::function<absl::Status(int64_t calls)>& run);

}  // namespace kldiv::cuda::testing

#endif  // KLDIV_TESTS_GPU_MEASURE_H_
