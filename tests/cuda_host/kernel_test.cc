// Kernels on the CPU: what they compute, and that faulty ones are seen to be faulty.

#include <algorithm>
#include <numeric>

#include "tests/cuda_host/host_device.h"
#include "tests/cuda_host/test_kernels.h"

namespace kldiv::cuda_host::testing {
namespace {

class Kernel : public HostDevice {};
INSTANTIATE_TEST_SUITE_P(Modes, Kernel, EveryMode(), ModeName);

TEST_P(Kernel, MeetsInWarpsAndBlocksAsTheGuideSays) {
  OwnStream stream;
  DeviceArray<int> right(1);
  ASSERT_EQ(cudaMemsetAsync(right.data(), 0, sizeof(int), stream), cudaSuccess);
  ASSERT_EQ(LaunchWarpOperations(stream, right.data(), 8, 128), cudaSuccess);
  EXPECT_EQ(right.Read(stream)[0], 8 * 128);
}

TEST_P(Kernel, NumbersThreadsAndBlocksInThreeDimensions) {
  DeviceArray<int> out(2 * 3 * 2 * 4 * 2 * 3);
  ASSERT_EQ(LaunchNumbering(nullptr, out.data()), cudaSuccess);
  std::vector<int> want(2 * 3 * 2 * 4 * 2 * 3);
  std::iota(want.begin(), want.end(), 0);
  EXPECT_EQ(out.Read(), want);
}

TEST_P(Kernel, SharesDynamicMemoryWithinABlock) {
  DeviceArray<int> out(64);
  ASSERT_EQ(LaunchReverse(nullptr, out.data(), 64), cudaSuccess);
  const std::vector<int> got = out.Read();
  EXPECT_EQ(got.front(), 63);
  EXPECT_EQ(got.back(), 0);
}

TEST_P(Kernel, RoundsWhereTheCodeSaysSo) {
  DeviceArray<double> out(3);
  const double a = 1 + 0x1p-30;
  ASSERT_EQ(LaunchRoundings(nullptr, out.data(), a, 1 + 0x1p-29), cudaSuccess);
  EXPECT_EQ(out.Read(), std::vector<double>({0x1p-60, 0, -a}));
}

TEST_P(Kernel, FindsFreshMemoryFilledWithNaN) {
  DeviceArray<float> out(3);
  const std::vector<float> values = out.Read();
  EXPECT_TRUE(std::all_of(values.begin(), values.end(), [](float value) { return value != value; }));
}

TEST_P(Kernel, GivesTheNeighboursNumberWithoutABug) {
  DeviceArray<int> out(128);
  ASSERT_EQ(LaunchNeighbours(nullptr, out.data(), Bug::kNone), cudaSuccess);
  const std::vector<int> got = out.Read();
  for (int i = 0; i < 128; ++i) EXPECT_EQ(got[i], (i + 1) % 128);
}

// ---- Misuse that the executor itself sees.

class KernelFault : public Kernel {
 protected:
  // Launches it and expects the fault when the host waits.
  static void ExpectFault(Bug bug, const char* text) {
    DeviceArray<int> out(128);
    ASSERT_EQ(LaunchNeighbours(nullptr, out.data(), bug), cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    EXPECT_NE(LastKernelFault().find(text), std::string::npos) << LastKernelFault();
  }
};
INSTANTIATE_TEST_SUITE_P(Modes, KernelFault, EveryMode(), ModeName);

TEST_P(KernelFault, IsAnExitBeforeABarrier) {
  ExpectFault(Bug::kEarlyExit, "a barrier is not reached by every thread");
}

TEST_P(KernelFault, IsAMeetingOfDifferentWarpOperations) {
  ExpectFault(Bug::kMixedWarpOperations, "different warp operations");
}

TEST_P(KernelFault, IsAMaskWithoutTheCaller) {
  ExpectFault(Bug::kForeignMask, "the calling lane is not in its mask");
}

TEST_P(KernelFault, IsAShuffleThatHalfOfTheLanesReach) { ExpectFault(Bug::kHalfWarpShuffle, "deadlock"); }

TEST_P(KernelFault, TellsTheLineTheBlockAndTheThread) {
  DeviceArray<int> out(128);
  ASSERT_EQ(LaunchNeighbours(nullptr, out.data(), Bug::kForeignMask), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  for (const char* part : {"(line ", "block (", "thread ("}) {
    EXPECT_NE(LastKernelFault().find(part), std::string::npos) << LastKernelFault();
  }
}

TEST_P(KernelFault, IsAnArgumentThatPointsToTheHost) {
  int host = 0;
  ASSERT_EQ(LaunchStore(nullptr, &host, 1), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_EQ(host, 0);
}

TEST_P(KernelFault, LeavesAKernelOfTheNextTestUnharmed) {
  {
    DeviceArray<int> out(128);
    ASSERT_EQ(LaunchNeighbours(nullptr, out.data(), Bug::kEarlyExit), cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  }
  Recover();
  DeviceArray<int> out(128);
  ASSERT_EQ(LaunchNeighbours(nullptr, out.data(), Bug::kNone), cudaSuccess);
  EXPECT_EQ(out.Read()[5], 6);
}

TEST_P(Kernel, RefusesAConfigurationThatNoDeviceTakes) {
  DeviceArray<int> out(1);
  EXPECT_EQ(LaunchWarpOperations(nullptr, out.data(), 0, 32), cudaErrorInvalidConfiguration);
  EXPECT_EQ(LaunchWarpOperations(nullptr, out.data(), 1, 2048), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(LaunchReverse(nullptr, out.data(), 65536), cudaErrorInvalidConfiguration);
}

// Both races would end the process under ThreadSanitizer: sanitizer_test expects that.
#if !defined(KLDIV_TEST_TSAN)
TEST_P(KernelFault, IsABarrierThatOneWarpDoesNotReach) {
  ExpectFault(Bug::kBarrierInOneWarp, "a barrier is not reached by every thread");
}

// A missing barrier shows in the result: some thread has not written yet.
TEST_P(KernelFault, IsSeenInTheResultWhenABarrierIsMissing) {
  DeviceArray<int> out(128);
  ASSERT_EQ(LaunchNeighbours(nullptr, out.data(), Bug::kBarrierMissing), cudaSuccess);
  const std::vector<int> got = out.Read();
  int wrong = 0;
  for (int i = 0; i < 128; ++i) wrong += got[i] != (i + 1) % 128 ? 1 : 0;
  EXPECT_GT(wrong, 0);
}
#endif

}  // namespace
}  // namespace kldiv::cuda_host::testing
