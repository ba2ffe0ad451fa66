// What the sanitizers see of kernels and streams: each test runs a bug in a process of its own, which the
// sanitizer ends. Without a sanitizer there is nothing to see.

#include <cstdlib>

#include "tests/cuda_host/host_device.h"
#include "tests/cuda_host/test_kernels.h"

namespace kldiv::cuda_host::testing {
namespace {

class SeenBySanitizer : public HostDevice {
 protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    HostDevice::SetUp();
  }

  // Runs the kernel to its end.
  [[noreturn]] static void Run(Bug bug) {
    DeviceArray<int> out(128);
    LaunchNeighbours(nullptr, out.data(), bug);
    cudaDeviceSynchronize();
    std::exit(0);
  }

  // A copy to the device and one back, with the order between two streams and the host that is asked for.
  [[noreturn]] static void RunCopies(bool wait_between_streams, bool wait_for_result) {
    constexpr int kCount = 1000;
    OwnStream first, second;
    OwnEvent copied, done;
    PinnedArray<int> in(kCount), out(kCount);
    DeviceArray<int> device(kCount), device_out(kCount);
    for (int i = 0; i < kCount; ++i) in[static_cast<size_t>(i)] = i;
    constexpr size_t kBytes = kCount * sizeof(int);
    cudaMemcpyAsync(device.data(), in.data(), kBytes, cudaMemcpyHostToDevice, first);
    cudaEventRecord(copied, first);
    if (wait_between_streams) cudaStreamWaitEvent(second, copied, 0);
    LaunchIncrement(second, device_out.data(), device.data(), kCount);
    cudaMemcpyAsync(out.data(), device_out.data(), kBytes, cudaMemcpyDeviceToHost, second);
    cudaEventRecord(done, second);
    if (wait_for_result) cudaEventSynchronize(done);
    const bool right = out[7] == 8;
    cudaDeviceSynchronize();
    std::exit(right || !wait_for_result ? 0 : 1);
  }
};
INSTANTIATE_TEST_SUITE_P(Modes, SeenBySanitizer,
                         ::testing::Combine(::testing::Bool(), ::testing::Values(1, 2)), ModeName);

TEST_P(SeenBySanitizer, NothingWithoutABug) {
  EXPECT_EXIT(Run(Bug::kNone), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(RunCopies(true, true), ::testing::ExitedWithCode(0), "");
}

#if defined(KLDIV_TEST_TSAN)
constexpr int kRaceExit = 66;

TEST_P(SeenBySanitizer, ARaceWhenABarrierIsMissing) {
  EXPECT_EXIT(Run(Bug::kBarrierMissing), ::testing::ExitedWithCode(kRaceExit), "data race");
}

TEST_P(SeenBySanitizer, ARaceWhenTwoBlocksWriteOneElement) {
  EXPECT_EXIT(Run(Bug::kBlocksShareCell), ::testing::ExitedWithCode(kRaceExit), "data race");
}

TEST_P(SeenBySanitizer, ARaceWhenAStreamDoesNotWaitForAnother) {
  EXPECT_EXIT(RunCopies(false, true), ::testing::ExitedWithCode(kRaceExit), "data race");
}

TEST_P(SeenBySanitizer, ARaceWhenTheHostDoesNotWaitForAResult) {
  EXPECT_EXIT(RunCopies(true, false), ::testing::ExitedWithCode(kRaceExit), "data race");
}
#endif

#if defined(KLDIV_TEST_ASAN)
TEST_P(SeenBySanitizer, AWritePastTheEndOfDeviceMemory) {
  EXPECT_DEATH(Run(Bug::kPastTheEnd), "heap-buffer-overflow");
}

TEST_P(SeenBySanitizer, AWritePastTheEndOfASharedArray) {
  EXPECT_DEATH(Run(Bug::kSharedPastTheEnd), "heap-buffer-overflow|out of bounds");
}

TEST_P(SeenBySanitizer, AMisalignedLoad) { EXPECT_DEATH(Run(Bug::kMisaligned), "misaligned address"); }
#endif

}  // namespace
}  // namespace kldiv::cuda_host::testing
