#include "tests/cuda_host/kernel.h"

#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "tests/cuda_host/block.h"

namespace kldiv::cuda_host {
namespace {

// Threads to execute blocks with, kept from kernel to kernel, because stacks, and ThreadSanitizer's threads
// even more, are expensive.
//
// ThreadSanitizer takes what one of its threads did for two blocks as ordered, and after a barrier so is all
// that its fellows did. So a block gets its threads at a random offset and, under ThreadSanitizer, from a
// random one of two sets: then an unordered pair of blocks is seen as such in half of the runs at least.
class ThreadSets {
 public:
  static ThreadSets& Get() {
    static auto* sets = new ThreadSets;  // never destroyed: a kernel may run at exit
    return *sets;
  }

  // Fills threads[0, count).
  void Pick(int count, Random& random, DeviceThread** threads) {
    auto& set = sets_[__tsan_create_fiber != nullptr ? random.Below(2) : 0];
    while (set.size() < static_cast<size_t>(count)) set.push_back(std::make_unique<DeviceThread>());
    const size_t offset = random.Below(set.size());
    for (int i = 0; i < count; ++i) threads[i] = set[(offset + static_cast<size_t>(i)) % set.size()].get();
  }

 private:
  std::vector<std::unique_ptr<DeviceThread>> sets_[2];
};

// Calls run(block index) for all blocks in a random order, until it returns false.
template <class Run>
void InRandomOrder(dim3 grid, Random& random, Run run) {
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  uint64_t step = 1;
  if (blocks > 2) {
    do {
      step = 1 + random.Below(blocks - 1);
    } while (std::gcd(step, blocks) != 1);
  }
  uint64_t index = random.Below(blocks);
  for (uint64_t done = 0; done < blocks; ++done, index = (index + step) % blocks) {
    const uint3 block = {static_cast<unsigned>(index % grid.x),
                         static_cast<unsigned>(index / grid.x % grid.y),
                         static_cast<unsigned>(index / grid.x / grid.y)};
    if (!run(block)) return;
  }
}

template <class T, class... A>
std::unique_ptr<T> MakeUnseen(A&&... arguments) {
  const ScopedUnseen unseen;
  return std::make_unique<T>(std::forward<A>(arguments)...);
}

template <class T>
void DestroyUnseen(std::unique_ptr<T> object) {
  const ScopedUnseen unseen;
  object.reset();
}

}  // namespace

KernelOutcome RunKernel(const KernelLaunch& launch, Random& random) {
  KernelOutcome outcome;
  const int thread_count = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
  auto marks = MakeUnseen<LaunchMarks>();
  marks->start.Release();
  InRandomOrder(launch.grid, random, [&](uint3 index) {
    DeviceThread* threads[kMaxThreadsPerBlock];
    ThreadSets::Get().Pick(thread_count, random, threads);
    auto block = MakeUnseen<Block>(launch, index, threads, *marks, outcome);
    if (launch.unreadable_argument >= 0) {
      block->SetFault(*threads[0], cudaErrorIllegalAddress,
                      "a pointer argument is not the device's; argument", launch.unreadable_argument);
    } else {
      block->Run(random);
    }
    DestroyUnseen(std::move(block));
    return outcome.error == cudaSuccess;
  });
  marks->end.Acquire();
  DestroyUnseen(std::move(marks));
  return outcome;
}

}  // namespace kldiv::cuda_host
