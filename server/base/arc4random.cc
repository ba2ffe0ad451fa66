// glibc's arc4random, which it has since 2.36 and which std::random_device of a static libstdc++ calls: with
// it here, static programs start with glibc 2.35 too (Ubuntu 22.04). Linked with KLDIV_STATIC alone.

#include <sys/random.h>

#include <cstdint>
#include <cstdlib>

extern "C" uint32_t arc4random() {
  uint32_t value = 0;
  // So few bytes come whole or not at all; they cannot, on Linux before 3.17.
  if (getrandom(&value, sizeof value, 0) != sizeof value) std::abort();
  return value;
}
