#ifndef KLDIV_TESTS_CUDA_HOST_RANDOM_H_
#define KLDIV_TESTS_CUDA_HOST_RANDOM_H_

#include <cstdint>
#include <utility>

namespace kldiv::cuda_host {

// Repeatable random numbers (splitmix64). Not one of the standard's engines: their out-of-line functions
// could come from an instrumented object file. Not thread-safe.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  // One of 0 to bound - 1; bound >= 1.
  uint64_t Below(uint64_t bound) { return Next() % bound; }

  template <class T>
  void Shuffle(T* values, int count) {
    for (int i = count - 1; i > 0; --i) std::swap(values[i], values[Below(static_cast<uint64_t>(i) + 1)]);
  }

 private:
  uint64_t state_;
};

}  // namespace kldiv::cuda_host

#endif  // KLDIV_TESTS_CUDA_HOST_RANDOM_H_
