#ifndef KLDIV_TESTS_TESTING_PATIENCE_H_
#define KLDIV_TESTS_TESTING_PATIENCE_H_

#include <chrono>

namespace kldiv::testing {

// When a test that waits for something that must come gives up: long after the slowest machine under a
// sanitizer would have brought it.
inline std::chrono::steady_clock::time_point PatienceEnd() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(60);
}

}  // namespace kldiv::testing

#endif  // KLDIV_TESTS_TESTING_PATIENCE_H_
