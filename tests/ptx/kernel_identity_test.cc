// The kernel as nvcc compiles it, for each virtual architecture, equals the scalar reference to the bit: in
// random company, at all lengths, for every dtype and formula, cut, for `none`, and for the golden cases. All
// lengths and the largest cases only with KLDIV_SLOW=1.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <random>
#include <string>

#include "server/numerics/reduce.h"
#include "tests/cuda/golden_answers.h"
#include "tests/cuda/pair_set.h"
#include "tests/numerics/effort.h"
#include "tests/ptx/parser.h"
#include "tests/ptx/ptx_lane.h"

namespace kldiv::ptx {
namespace {

using cuda::testing::kDTypes;
using cuda::testing::PairSet;
using cuda::testing::WrongGoldenAnswers;
using numerics::DType;
using numerics::Formula;
using numerics::kSlowdown;
using numerics::kTileElements;
using numerics::SlowTests;

// The parameter is the architecture.
class KernelPtx : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const std::string path =
        std::string(KLDIV_PTX_FOLDER) + "/kl_kernel_" + std::to_string(GetParam()) + ".ptx";
    std::ifstream file(path);
    ASSERT_TRUE(file.is_open()) << path;
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    absl::StatusOr<Module> module = Parse(text);
    ASSERT_TRUE(module.ok()) << module.status();
    module_ = std::make_unique<Module>(*std::move(module));
  }

  void Check(const PairSet& pairs, const std::vector<server::Piece>& pieces,
             int64_t batch_bytes = int64_t{1} << 24) {
    PtxLane lane(*module_, batch_bytes);
    ASSERT_EQ(lane.Run(pieces), absl::OkStatus());
    EXPECT_EQ(pairs.Difference(), "");
  }

  void CheckCases(const golden::Cases& cases) {
    PtxLane lane(*module_, int64_t{1} << 24);
    const int64_t max_elements = SlowTests() ? std::numeric_limits<int64_t>::max() : 10'000 / kSlowdown;
    EXPECT_THAT(WrongGoldenAnswers(lane, cases, max_elements), ::testing::IsEmpty());
  }

  std::unique_ptr<Module> module_;
  std::mt19937_64 random_{static_cast<uint64_t>(GetParam())};
};
INSTANTIATE_TEST_SUITE_P(Compute, KernelPtx, ::testing::Values(75, 80, 90, 100, 120),
                         ::testing::PrintToStringParamName());

TEST_P(KernelPtx, EqualsTheReferenceInRandomCompany) {
  PairSet pairs;
  for (int i = 0; i < 300; ++i) {
    const auto elements = static_cast<int64_t>(random_() % 40 == 0 ? random_() % 4000 : random_() % 200);
    pairs.AddRandom(random_, kldiv::testing::RandomFormula(random_), elements, random_() % 3 == 0,
                    i % 3 == 0 ? 0 : 40);
  }
  Check(pairs, pairs.Pieces());
}

TEST_P(KernelPtx, EqualsTheReferenceForEveryFormula) {
  PairSet pairs;
  for (const DType input : kDTypes) {
    for (const DType target : kDTypes) {
      for (int choice = 0; choice < 8; ++choice) {
        pairs.AddRandom(random_, {input, target, (choice & 1) != 0, (choice & 2) != 0}, 203,
                        (choice & 4) != 0, 20);
      }
    }
  }
  Check(pairs, pairs.Pieces());
}

TEST_P(KernelPtx, EqualsTheReferenceAtLengthsAroundEveryStep) {
  PairSet pairs;
  for (const DType dtype : kDTypes) {
    for (const int64_t step : {4, 128, 256, 512, 1024, 2048}) {
      for (int64_t n = step - 1; n <= step + 1; ++n)
        pairs.AddRandom(random_, {dtype, dtype}, n, n % 2 == 0, 60);
    }
  }
  Check(pairs, pairs.Pieces());
}

// Each architecture and formula walks through other lengths, and all through those around whole tiles.
TEST_P(KernelPtx, EqualsTheReferenceAtAllLengths) {
  constexpr int64_t kStride = 97 * kSlowdown;
  int64_t offset = GetParam();
  for (const DType dtype : kDTypes) {
    for (const bool log_target : {false, true}) {
      offset += 13;
      PairSet pairs;
      for (int64_t n = 0; n <= 4200; ++n) {
        if (SlowTests() || n % kTileElements < 2 || (n + offset) % kStride == 0)
          pairs.AddRandom(random_, {dtype, dtype, log_target, false}, n, n % 5 == 0, n % 3 == 1 ? 60 : 0);
      }
      Check(pairs, pairs.Pieces());
    }
  }
}

TEST_P(KernelPtx, GivesTheFrozenBits) { CheckCases(golden::FrozenCases()); }

TEST_P(KernelPtx, IsWithinTheToleranceOfExactValues) { CheckCases(golden::ExactCases()); }

TEST_P(KernelPtx, EqualsTheReferenceForPairsCutIntoManyRounds) {
  PairSet pairs;
  for (int i = 0; i < 4; ++i) {
    pairs.AddRandom(random_, kldiv::testing::RandomFormula(random_),
                    2000 + static_cast<int64_t>(random_() % 4000), i % 2 == 0, 50);
  }
  Check(pairs, pairs.CutPieces(random_), /*batch_bytes=*/1);
}

}  // namespace
}  // namespace kldiv::ptx
