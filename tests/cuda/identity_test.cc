// The kernel, through a lane, equals the scalar reference to the bit: every length, dtype, formula and
// reduction, alone and in any company.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "server/cuda/cuda_devices.h"
#include "server/cuda/cuda_lane.h"
#include "server/numerics/reduce.h"
#include "tests/cuda/golden_answers.h"
#include "tests/cuda/pair_set.h"
#include "tests/cuda_host/host_device.h"
#include "tests/golden/golden.h"
#include "tests/numerics/effort.h"

namespace kldiv::cuda::testing {
namespace {

using numerics::DType;
using numerics::Formula;
using numerics::kSlowdown;
using numerics::kTileElements;
using numerics::SlowTests;
using server::Lane;
using server::Piece;

constexpr int64_t kBatchBytes = int64_t{32} << 20;

class CudaIdentity : public cuda_host::testing::HostDevice {
 protected:
  void SetUp() override {
    HostDevice::SetUp();
    lane_ = MakeLane(BufferSizesFor(kBatchBytes));
  }
  void TearDown() override {
    lane_.reset();
    HostDevice::TearDown();
  }

  static std::unique_ptr<Lane> MakeLane(const BufferSizes& sizes) {
    auto lane = MakeCudaLane(std::make_shared<DeviceState>(Device{0, "cuda:0"}), sizes);
    EXPECT_TRUE(lane.ok()) << lane.status();
    return *std::move(lane);
  }

  static void Evaluate(Lane& lane, std::span<const Piece> pieces, const PairSet& pairs) {
    ASSERT_EQ(lane.Run(pieces), absl::OkStatus()) << cuda_host::LastKernelFault();
    EXPECT_EQ(pairs.Difference(), "");
  }

  uint64_t seed() const { return std::get<1>(GetParam()); }
  std::unique_ptr<Lane> lane_;
};

// Long walks in two modes, everything else in six.
class CudaIdentityWalk : public CudaIdentity {};

TEST_P(CudaIdentity, HoldsInRandomCompany) {
  std::mt19937_64 random(seed());
  PairSet pairs;
  const int64_t count = 1600 / kSlowdown;
  for (int64_t i = 0; i < count; ++i) {
    const auto elements = static_cast<int64_t>(random() % 40 == 0 ? random() % 9000 : random() % 300);
    pairs.AddRandom(random, kldiv::testing::RandomFormula(random), elements, random() % 3 == 0,
                    i % 3 == 0 ? 0 : 40);
  }
  Evaluate(*lane_, pairs.Pieces(), pairs);
}

TEST_P(CudaIdentity, HoldsForEveryFormulaAloneAndForBothKindsOfAnswer) {
  std::mt19937_64 random(seed());
  for (const DType input : kDTypes) {
    for (const DType target : kDTypes) {
      for (int choice = 0; choice < 8; ++choice) {
        PairSet pairs;
        pairs.AddRandom(random, {input, target, (choice & 1) != 0, (choice & 2) != 0}, 1303,
                        (choice & 4) != 0, 20);
        Evaluate(*lane_, pairs.Pieces(), pairs);
      }
    }
  }
}

TEST_P(CudaIdentity, HoldsForPairsCutAtAnyTiles) {
  std::mt19937_64 random(seed());
  PairSet pairs;
  for (int i = 0; i < 12; ++i) {
    pairs.AddRandom(random, kldiv::testing::RandomFormula(random), static_cast<int64_t>(random() % 12'000),
                    i % 2 == 0, 50);
  }
  Evaluate(*lane_, pairs.CutPieces(random), pairs);
  pairs.ForgetResults();
  const std::vector<Piece> pieces = pairs.CutPieces(random);
  for (const Piece& piece : pieces) ASSERT_EQ(lane_->Run({&piece, 1}), absl::OkStatus());
  EXPECT_EQ(pairs.Difference(), "");
}

TEST_P(CudaIdentity, HoldsInManyRoundsThroughTheSmallestBuffers) {
  const std::unique_ptr<Lane> small = MakeLane(BufferSizesFor(1));
  std::mt19937_64 random(seed());
  PairSet pairs;
  for (int i = 0; i < 10; ++i) {
    pairs.AddRandom(random, kldiv::testing::RandomFormula(random), static_cast<int64_t>(random() % 30'000),
                    i % 2 == 0, 50);
  }
  pairs.AddRandom(random, {DType::kFp64, DType::kFp64}, 20 * kTileElements, true, 50);
  cuda_host::ClearCallCounts();
  Evaluate(*small, pairs.Pieces(), pairs);
  EXPECT_GT(cuda_host::CallCounts()["cudaLaunchKernelEx"], 10);
}

TEST_P(CudaIdentityWalk, HoldsForAllLengths) {
  std::mt19937_64 random(seed());
  for (const DType dtype : kDTypes) {
    for (const bool log_target : {false, true}) {
      PairSet pairs;
      const bool all = SlowTests() || (dtype == DType::kFp32 && kSlowdown == 1);
      for (int64_t n = 0; n <= 4200; n += all || n % kTileElements < 2 ? 1 : 13) {
        pairs.AddRandom(random, {dtype, dtype, log_target, false}, n, n % 5 == 0, n % 3 == 1 ? 60 : 0);
      }
      Evaluate(*lane_, pairs.Pieces(), pairs);
    }
  }
}

TEST_P(CudaIdentityWalk, HoldsBeyondASecondLevelOfTheTree) {
  std::mt19937_64 random(seed());
  const int64_t million = kTileElements * kTileElements;
  PairSet pairs;
  pairs.AddRandom(random, {DType::kFp32, DType::kFp32}, million + 1, false, 5000);
  if (kSlowdown == 1 || SlowTests()) {
    pairs.AddRandom(random, {DType::kFp16, DType::kBf16, true, false}, million + 1, false, 5000);
    pairs.AddRandom(random, {DType::kFp64, DType::kFp32}, million + 1124, true, 5000);
    pairs.AddRandom(random, {DType::kFp32, DType::kFp32}, million - 1, false, 0);
  }
  Evaluate(*lane_, pairs.Pieces(), pairs);
}

TEST_P(CudaIdentityWalk, HoldsForAHundredThousandPairsAtOnce) {
  std::mt19937_64 random(seed());
  PairSet pairs;
  const int64_t count = 100'000 / kSlowdown;
  for (int64_t i = 0; i < count; ++i) {
    pairs.AddRandom(random, {DType::kFp32, DType::kFp32}, static_cast<int64_t>(random() % 9), i % 7 == 0, 30);
  }
  Evaluate(*lane_, pairs.Pieces(), pairs);
}

constexpr int64_t kAnySize = std::numeric_limits<int64_t>::max();

TEST_P(CudaIdentityWalk, GivesTheFrozenBits) {
  EXPECT_THAT(WrongGoldenAnswers(*lane_, golden::FrozenCases(), kAnySize), ::testing::IsEmpty());
}

TEST_P(CudaIdentityWalk, IsWithinTheToleranceOfExactValues) {
  EXPECT_THAT(WrongGoldenAnswers(*lane_, golden::ExactCases(), kAnySize), ::testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Modes, CudaIdentity, cuda_host::testing::EveryMode(), cuda_host::testing::ModeName);
INSTANTIATE_TEST_SUITE_P(Modes, CudaIdentityWalk,
                         ::testing::Values(std::tuple(false, uint64_t{4}), std::tuple(true, uint64_t{5})),
                         cuda_host::testing::ModeName);

}  // namespace
}  // namespace kldiv::cuda::testing
