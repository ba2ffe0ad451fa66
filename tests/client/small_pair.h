#ifndef KLDIV_TESTS_CLIENT_SMALL_PAIR_H_
#define KLDIV_TESTS_CLIENT_SMALL_PAIR_H_

#include <cstdint>
#include <span>

#include "client/include/kldiv/client.h"

namespace kldiv::client_testing {

// A valid pair of three elements, for tests that are about something else. Its memory stays.
inline Pair SmallPair() {
  static constexpr int64_t kShape[] = {3};
  static constexpr float kInput[] = {-1, -2, -3};
  static constexpr float kTarget[] = {.25F, .25F, .5F};
  return {.input = {std::span<const float>(kInput), kShape},
          .target = {std::span<const float>(kTarget), kShape}};
}

}  // namespace kldiv::client_testing

#endif  // KLDIV_TESTS_CLIENT_SMALL_PAIR_H_
