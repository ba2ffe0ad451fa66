#include "client/load/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <set>

#include "client/load/random_data.h"
#include "client/load/settings.h"
#include "server/numerics/formula.h"
#include "server/numerics/scalar.h"

namespace kldiv::load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::unique_ptr<Workload> Make(WorkloadOptions options) {
  absl::StatusOr<std::unique_ptr<Workload>> workload = Workload::Create(std::move(options));
  EXPECT_TRUE(workload.ok()) << workload.status();
  return *std::move(workload);
}

std::vector<double> Widened(const Tensor& tensor, int64_t elements) {
  std::vector<double> values;
  for (int64_t i = 0; i < elements; ++i) {
    values.push_back(
        numerics::scalar::Widen(static_cast<numerics::DType>(tensor.dtype), tensor.data.data(), i));
  }
  return values;
}

Evaluation LossOf(std::optional<double> loss, int64_t elements) {
  Evaluation evaluation;
  evaluation.loss = loss;
  evaluation.element_count = elements;
  return evaluation;
}

// The loss as the scalar reference has it.
double ReferenceSum(const Item& item) {
  std::vector<double> sums(static_cast<size_t>(numerics::TileCount(item.elements)));
  const numerics::Formula formula = {.input = static_cast<numerics::DType>(item.pair.input.dtype),
                                     .target = static_cast<numerics::DType>(item.pair.target.dtype),
                                     .log_target = item.pair.log_target};
  numerics::scalar::TileSums(formula, item.pair.input.data.data(), item.pair.target.data.data(),
                             item.elements, sums.data());
  return numerics::scalar::Fold(sums.data(), static_cast<int64_t>(sums.size()));
}

TEST(ParseShapes, TakesShapesAndWeights) {
  const auto shapes = ParseShapes("32x1000:3,1000,2x0x5:0.5");
  ASSERT_TRUE(shapes.ok()) << shapes.status();
  ASSERT_EQ(shapes->size(), 3U);
  EXPECT_THAT((*shapes)[0].shape, ElementsAre(32, 1000));
  EXPECT_EQ((*shapes)[0].weight, 3);
  EXPECT_THAT((*shapes)[1].shape, ElementsAre(1000));
  EXPECT_EQ((*shapes)[1].weight, 1);
  EXPECT_THAT((*shapes)[2].shape, ElementsAre(2, 0, 5));
  EXPECT_EQ((*shapes)[2].weight, 0.5);
}

TEST(ParseShapes, RefusesWhatIsNoShape) {
  for (const char* text : {"", "x", "3x", "-1", "2x-3", "a", "1.5", "10,", "10:", "10:0", "10:-1", "10:nan",
                           "10:inf", "65536x65536", "9223372036854775807x2"}) {
    EXPECT_EQ(ParseShapes(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(ParseRange, TakesANumberSumsAndProducts) {
  EXPECT_THAT(ParseRange("5").value(), ElementsAre(5));
  EXPECT_THAT(ParseRange("1:10:+3").value(), ElementsAre(1, 4, 7, 10));
  EXPECT_THAT(ParseRange("1:100:*4").value(), ElementsAre(1, 4, 16, 64));
  EXPECT_THAT(ParseRange("0.5:0.6:+1").value(), ElementsAre(0.5));
}

TEST(ParseRange, RefusesWhatIsNone) {
  for (const char* text : {"", "0", "-1", "nan", "1:2", "2:1:+1", "1:2:3", "1:2:*1", "1:2:+0", "1:2:*0.5",
                           "1:2:+1:+1", "1:1e9:+1", "1:inf:*2"}) {
    EXPECT_EQ(ParseRange(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(RandomDistributions, HasRowsThatAddUpToOne) {
  const int64_t shape[] = {7, 50};
  std::mt19937_64 random(1);
  for (const bool logarithms : {false, true}) {
    const std::vector<std::byte> bytes = RandomDistributions(random, DType::kFp64, shape, 350, logarithms);
    ASSERT_EQ(bytes.size(), 350 * sizeof(double));
    std::vector<double> values(350);
    std::memcpy(values.data(), bytes.data(), bytes.size());
    for (size_t row = 0; row < 7; ++row) {
      double sum = 0;
      for (size_t i = 0; i < 50; ++i) {
        const double value = values[50 * row + i];
        EXPECT_EQ(value < 0, logarithms);
        sum += logarithms ? std::exp(value) : value;
      }
      EXPECT_NEAR(sum, 1, 1e-12);
    }
  }
}

TEST(RandomDistributions, RoundsToTheDtype) {
  const int64_t shape[] = {64};
  for (const DType dtype : {DType::kFp16, DType::kBf16, DType::kFp32}) {
    std::mt19937_64 random(1);
    std::mt19937_64 same(1);
    const std::vector<std::byte> bytes = RandomDistributions(random, dtype, shape, 64, false);
    const std::vector<std::byte> exact = RandomDistributions(same, DType::kFp64, shape, 64, false);
    const std::vector<double> rounded = Widened(Tensor(dtype, shape, bytes), 64);
    const std::vector<double> values = Widened(Tensor(DType::kFp64, shape, exact), 64);
    for (size_t i = 0; i < 64; ++i) EXPECT_NEAR(rounded[i], values[i], values[i] * 0x1p-8);
  }
}

TEST(Workload, SendsTheShapesByTheirWeightsAndSeveralPairsOfEach) {
  const auto workload = Make({.shapes = {{{10}, 3}, {{2, 5}, 1}}, .verify = false});
  constexpr int kPairs = 100'000;
  std::map<size_t, double> dimensions;
  std::set<const Item*> items;
  for (uint64_t i = 0; i < kPairs; ++i) {
    const Item& item = workload->At(i);
    dimensions[item.pair.input.shape.size()] += 1.0 / kPairs;
    items.insert(&item);
    EXPECT_EQ(item.bytes, 80);
  }
  EXPECT_NEAR(dimensions[1], 0.75, 4 * std::sqrt(0.75 * 0.25 / kPairs));
  EXPECT_EQ(items.size(), 2U * Workload::kPairsPerShape);
}

TEST(Workload, IsTheSameForTheSameSeed) {
  const auto first = Make({.shapes = {{{10}, 1}}, .seed = 5});
  const auto second = Make({.shapes = {{{10}, 1}}, .seed = 5});
  const auto other = Make({.shapes = {{{10}, 1}}, .seed = 6});
  int equal = 0;
  for (uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(first->At(i).loss_bits, second->At(i).loss_bits);
    equal += first->At(i).loss_bits == other->At(i).loss_bits ? 1 : 0;
  }
  EXPECT_EQ(equal, 0);
}

TEST(Workload, KeepsLargePairsInLittleMemory) {
  const auto workload = Make({.shapes = {{{40, 1'000'000}, 1}}, .dtype = DType::kFp16, .verify = false});
  std::set<const Item*> items;
  for (uint64_t i = 0; i < 100; ++i) items.insert(&workload->At(i));
  EXPECT_EQ(items.size(), 1U);
}

TEST(Workload, KnowsTheRightLossToTheBit) {
  for (const bool log_target : {false, true}) {
    for (const Reduction reduction : {Reduction::kMean, Reduction::kBatchMean, Reduction::kSum}) {
      const auto workload =
          Make({.shapes = {{{3, 1700}, 1}}, .reduction = reduction, .log_target = log_target});
      const Item& item = workload->At(0);
      const double divisor = reduction == Reduction::kMean        ? 5100
                             : reduction == Reduction::kBatchMean ? 3
                                                                  : 1;
      const double loss = ReferenceSum(item) / divisor;
      EXPECT_TRUE(workload->IsRight(item, LossOf(loss, 5100)));
      EXPECT_FALSE(workload->IsRight(item, LossOf(std::nextafter(loss, 1e9), 5100)));
      EXPECT_FALSE(workload->IsRight(item, LossOf(loss, 5099)));
      EXPECT_FALSE(workload->IsRight(item, LossOf(std::nullopt, 5100)));
    }
  }
}

TEST(Workload, TellsNaNsApartByTheirBits) {
  const auto workload = Make({.shapes = {{{0}, 1}}});  // The mean of nothing.
  const Item& item = workload->At(0);
  const auto evaluation = [](uint64_t bits) { return LossOf(std::bit_cast<double>(bits), 0); };
  EXPECT_TRUE(workload->IsRight(item, evaluation(0x7ff8000000000000)));
  EXPECT_FALSE(workload->IsRight(item, evaluation(0xfff8000000000000)));
  EXPECT_FALSE(workload->IsRight(item, evaluation(0x7ff8000000000001)));
}

TEST(Workload, ComparesEveryByteOfPointwiseLosses) {
  const auto workload = Make({.shapes = {{{2, 3}, 1}}, .dtype = DType::kBf16, .reduction = Reduction::kNone});
  const Item& item = workload->At(0);
  ASSERT_EQ(item.pointwise.size(), 12U);
  std::string expected(12, '\0');
  numerics::scalar::Pointwise({.input = numerics::DType::kBf16, .target = numerics::DType::kBf16},
                              item.pair.input.data.data(), item.pair.target.data.data(), 6, expected.data());
  Evaluation evaluation = LossOf(std::nullopt, 6);
  evaluation.pointwise = Pointwise{DType::kBf16, {2, 3}, expected};
  EXPECT_TRUE(workload->IsRight(item, evaluation));
  for (char& byte : evaluation.pointwise->data) {
    byte = static_cast<char>(byte ^ 1);
    EXPECT_FALSE(workload->IsRight(item, evaluation));
    byte = static_cast<char>(byte ^ 1);
  }
  evaluation.pointwise->shape = {3, 2};
  EXPECT_FALSE(workload->IsRight(item, evaluation));
}

TEST(Workload, TakesEverythingForRightWithoutVerification) {
  const auto workload = Make({.shapes = {{{10}, 1}}, .verify = false});
  EXPECT_TRUE(workload->IsRight(workload->At(0), LossOf(42, 0)));
}

TEST(Workload, SendsTwoFiles) {
  const std::string input = "tests/data/digits/digits_student_logprobs.npy";
  const std::string target = "tests/data/digits/digits_teacher_probs.npy";
  const auto workload =
      Make({.reduction = Reduction::kBatchMean, .input_path = input, .target_path = target});
  EXPECT_THAT(workload->options().shapes[0].shape, ElementsAre(898, 10));
  const Item& item = workload->At(7);
  EXPECT_EQ(std::bit_cast<double>(item.loss_bits), 0.3992725936154355);
  EXPECT_EQ(&workload->At(8), &item);
  const absl::Status missing = Workload::Create({.input_path = input, .target_path = "nowhere.npy"}).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("nowhere.npy"));
}

}  // namespace
}  // namespace kldiv::load
