#ifndef KLDIV_TESTS_NUMERICS_EFFORT_H_
#define KLDIV_TESTS_NUMERICS_EFFORT_H_

#include <cstdint>
#include <cstdlib>

// How much of a large space a test walks through.
namespace kldiv::numerics {

// `./dev test --slow`: all of it.
inline bool SlowTests() {
  const char* value = std::getenv("KLDIV_SLOW");
  return value != nullptr && value[0] != '\0' && value[0] != '0';
}

// How many times slower than as shipped this build runs, roughly.
#if defined(KLDIV_EMULATED)
inline constexpr int64_t kSlowdown = 40;
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int64_t kSlowdown = 8;
#else
inline constexpr int64_t kSlowdown = 1;
#endif

}  // namespace kldiv::numerics

#endif  // KLDIV_TESTS_NUMERICS_EFFORT_H_
