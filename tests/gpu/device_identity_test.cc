// Lanes of every device that is there equal the scalar reference to the bit. The same program runs on a GPU
// and, with less of everything, on the device that the CPU stands in for.
//
// Without a device its tests are skipped; with KLDIV_REQUIRE_GPU=1 they fail.

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "server/cuda/cuda_devices.h"
#include "server/numerics/reduce.h"
#include "server/numerics/scalar.h"
#include "tests/cuda/pair_set.h"
#include "tests/golden/golden.h"
#include "tests/numerics/effort.h"
#include "tests/testing/random_pair.h"

namespace kldiv::cuda::testing {
namespace {

using numerics::DType;
using numerics::kSlowdown;
using numerics::kTileElements;
using server::Lane;

constexpr int64_t kBatchBytes = int64_t{32} << 20;

bool DeviceIsRequired() {
  const char* value = std::getenv("KLDIV_REQUIRE_GPU");
  return value != nullptr && std::string_view(value) == "1";
}

bool IsEmulated(const Device& device) { return absl::StrContains(device.name, "emulated"); }

class DeviceIdentity : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<FoundDevices> found = FindDevices(std::nullopt);
    if (!found.ok()) {
      if (!DeviceIsRequired()) GTEST_SKIP() << found.status().message();
      FAIL() << "a device is required: " << found.status();
    }
    devices_ = found->devices;
    for (const Device& device : devices_) emulated_ = emulated_ || IsEmulated(device);
  }

  static std::vector<std::unique_ptr<Lane>> Lanes(const Device& device, int count, int64_t max_batch_bytes) {
    auto lanes = MakeLanes(device, count, max_batch_bytes);
    EXPECT_TRUE(lanes.ok()) << lanes.status();
    return lanes.ok() ? *std::move(lanes) : std::vector<std::unique_ptr<Lane>>();
  }

  // Evaluates all pairs, by a new lane of every device in turn.
  void CheckOnEveryDevice(PairSet& pairs, int64_t max_batch_bytes = kBatchBytes) const {
    for (const Device& device : devices_) {
      const std::vector<std::unique_ptr<Lane>> lanes = Lanes(device, 1, max_batch_bytes);
      ASSERT_EQ(lanes.size(), 1u);
      pairs.ForgetResults();
      ASSERT_EQ(lanes.front()->Run(pairs.Pieces()), absl::OkStatus());
      EXPECT_EQ(pairs.Difference(), "") << device.name;
    }
  }

  // How many of `count` a device that is emulated has the time for.
  int64_t Some(int64_t count) const { return emulated_ ? count / (20 * kSlowdown) : count; }

  std::vector<Device> devices_;
  bool emulated_ = false;
};

TEST_F(DeviceIdentity, HoldsForLengthsUpTo4200OfEveryPairOfDtypes) {
  // A different step for each pair of dtypes, so that together they meet every length; and always the lengths
  // around a tile's end.
  std::mt19937_64 random(1);
  const int64_t step = emulated_ ? 41 * kSlowdown : 3;
  int64_t first = 0;
  for (const DType input : kDTypes) {
    for (const DType target : kDTypes) {
      PairSet pairs;
      for (int64_t n = 0; n <= 4200; ++n) {
        const int64_t beyond = n % kTileElements;
        if (n % step != first % step && beyond > 1 && beyond < kTileElements - 1) continue;
        pairs.AddRandom(random, {input, target, n % 2 == 0, n % 7 == 0}, n, n % 5 == 0, n % 3 == 1 ? 60 : 0);
      }
      CheckOnEveryDevice(pairs);
      ++first;
    }
  }
}

TEST_F(DeviceIdentity, HoldsForEveryLengthUpTo4200) {
  std::mt19937_64 random(2);
  PairSet pairs;
  for (int64_t n = 0; n <= 4200; n += emulated_ ? 7 * kSlowdown : 1) {
    pairs.AddRandom(random, {DType::kFp32, DType::kFp32, n % 2 == 1, false}, n, n % 5 == 0, 0);
  }
  CheckOnEveryDevice(pairs);
}

TEST_F(DeviceIdentity, HoldsForEveryFormulaAndBothKindsOfAnswer) {
  std::mt19937_64 random(3);
  PairSet pairs;
  for (const DType input : kDTypes) {
    for (const DType target : kDTypes) {
      for (int choice = 0; choice < 8; ++choice) {
        pairs.AddRandom(random, {input, target, (choice & 1) != 0, (choice & 2) != 0}, 1303,
                        (choice & 4) != 0, 20);
      }
    }
  }
  CheckOnEveryDevice(pairs);
}

TEST_F(DeviceIdentity, HoldsInRandomBatches) {
  std::mt19937_64 random(4);
  for (int batch = 0; batch < (emulated_ ? 2 : 50); ++batch) {
    PairSet pairs;
    for (int64_t i = 0; i < Some(2000); ++i) {
      const auto elements = static_cast<int64_t>(random() % 40 == 0 ? random() % 30'000 : random() % 300);
      pairs.AddRandom(random, kldiv::testing::RandomFormula(random), elements, random() % 3 == 0,
                      i % 3 == 0 ? 0 : 40);
    }
    CheckOnEveryDevice(pairs);
  }
}

TEST_F(DeviceIdentity, HoldsInManyRoundsThroughTheSmallestBuffers) {
  std::mt19937_64 random(5);
  PairSet pairs;
  for (int i = 0; i < 10; ++i) {
    pairs.AddRandom(random, kldiv::testing::RandomFormula(random),
                    static_cast<int64_t>(random() % static_cast<uint64_t>(Some(600'000))), i % 2 == 0, 50);
  }
  CheckOnEveryDevice(pairs, 1);
}

TEST_F(DeviceIdentity, HoldsForAHundredThousandPairsAtOnce) {
  std::mt19937_64 random(6);
  PairSet pairs;
  for (int64_t i = 0; i < Some(100'000); ++i) {
    pairs.AddRandom(random, {DType::kFp32, DType::kFp32}, static_cast<int64_t>(random() % 9), i % 7 == 0, 30);
  }
  CheckOnEveryDevice(pairs);
}

TEST_F(DeviceIdentity, HoldsBeyondASecondLevelOfTheTree) {
  std::mt19937_64 random(7);
  PairSet pairs;
  pairs.AddRandom(random, {DType::kFp32, DType::kFp32}, kTileElements * kTileElements + 1, false, 5000);
  if (!emulated_) {
    pairs.AddRandom(random, {DType::kFp64, DType::kFp32}, 5 * kTileElements * kTileElements + 77, true, 5000);
  }
  CheckOnEveryDevice(pairs);
}

TEST_F(DeviceIdentity, HoldsWhereSeveralLanesShareADevice) {
  constexpr int kLanes = 3;
  for (const Device& device : devices_) {
    const std::vector<std::unique_ptr<Lane>> lanes = Lanes(device, kLanes, kBatchBytes);
    ASSERT_EQ(lanes.size(), size_t{kLanes});
    std::vector<std::thread> threads;
    for (size_t i = 0; i < lanes.size(); ++i) {
      threads.emplace_back([this, &lane = *lanes[i], seed = 100 + i] {
        std::mt19937_64 random(seed);
        for (int batch = 0; batch < (emulated_ ? 1 : 20); ++batch) {
          PairSet pairs;
          for (int64_t k = 0; k < Some(800); ++k) {
            pairs.AddRandom(random, kldiv::testing::RandomFormula(random),
                            static_cast<int64_t>(random() % 2500), k % 2 == 0, 40);
          }
          EXPECT_EQ(lane.Run(pairs.CutPieces(random)), absl::OkStatus());
          EXPECT_EQ(pairs.Difference(), "");
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

// Answers the cases twice: with the sum and for `none`.
void CheckCases(Lane& lane, const golden::Cases& cases) {
  std::mt19937_64 random(8);
  PairSet pairs;
  for (const auto& c : cases) {
    for (const bool pointwise : {false, true}) {
      pairs.Add(c->formula, {c->input.begin(), c->input.end()}, {c->target.begin(), c->target.end()},
                pointwise, random);
    }
  }
  ASSERT_EQ(lane.Run(pairs.Pieces()), absl::OkStatus());
  for (size_t i = 0; i < cases.size(); ++i) {
    std::vector<double> sums = pairs.tile_sums(2 * i);
    const double sum = numerics::scalar::Fold(sums.data(), static_cast<int64_t>(sums.size()));
    for (const golden::Reduction reduction : golden::kReductions) {
      const auto divisor = cases[i]->Divisor(reduction);
      EXPECT_EQ(cases[i]->WrongLoss(reduction, divisor ? numerics::Divide(sum, *divisor) : sum), "");
    }
    const std::vector<uint8_t>& losses = pairs.pointwise(2 * i + 1);
    EXPECT_EQ(cases[i]->WrongPointwise({reinterpret_cast<const char*>(losses.data()), losses.size()}), "");
  }
}

TEST_F(DeviceIdentity, GivesTheFrozenBitsAndIsWithinTheToleranceOfExactValues) {
  for (const Device& device : devices_) {
    const std::vector<std::unique_ptr<Lane>> lanes = Lanes(device, 1, kBatchBytes);
    ASSERT_EQ(lanes.size(), 1u);
    CheckCases(*lanes.front(), golden::FrozenCases());
    CheckCases(*lanes.front(), golden::ExactCases());
  }
}

}  // namespace
}  // namespace kldiv::cuda::testing
