#include "tests/golden/golden.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "tests/golden/formats.h"

// The judge must not let a wrong answer pass.
namespace kldiv::golden {
namespace {

using numerics::DType;

const Cases& Exact() {
  static const Cases cases = ExactCases();
  return cases;
}

const Cases& Frozen() {
  static const Cases cases = FrozenCases();
  return cases;
}

// The first case with a finite loss that is not 0 of a pair of that dtype.
const Case& FiniteCase(DType dtype) {
  for (const auto& c : Exact()) {
    if (c->formula.target == dtype && c->elements > 0 && !c->WrongLoss(Reduction::kSum, 0.0).empty() &&
        !c->WrongLoss(Reduction::kSum, std::bit_cast<double>(CanonicalNaN(DType::kFp64))).empty() &&
        !c->WrongLoss(Reduction::kSum, HUGE_VAL).empty() &&
        !c->WrongLoss(Reduction::kSum, -HUGE_VAL).empty()) {
      return *c;
    }
  }
  throw std::runtime_error("no such case");
}

TEST(Golden, HasAllCasesWithBytesForEachElement) {
  EXPECT_EQ(Exact().size(), 648u);
  EXPECT_EQ(Frozen().size(), 327u);
  int64_t frozen_elements = 0;
  for (const auto& c : Frozen()) frozen_elements += c->elements;
  EXPECT_EQ(frozen_elements, 2'985'493);
  for (const Cases* cases : {&Exact(), &Frozen()}) {
    for (const auto& c : *cases) {
      EXPECT_EQ(static_cast<int64_t>(c->input.size()), c->elements * ElementSize(c->formula.input))
          << c->name;
      EXPECT_EQ(static_cast<int64_t>(c->target.size()), c->elements * ElementSize(c->formula.target))
          << c->name;
    }
  }
}

TEST(Golden, CoversEveryPairOfDTypesFormulaAndZeroRule) {
  for (int key = 0; key < 64; ++key) {
    const numerics::Formula formula = {.input = static_cast<DType>(1 + (key & 3)),
                                       .target = static_cast<DType>(1 + (key >> 2 & 3)),
                                       .log_target = (key & 16) != 0,
                                       .skip_zero_target = (key & 32) != 0};
    bool found = false;
    for (const auto& c : Frozen()) found = found || c->formula == formula;
    EXPECT_TRUE(found) << key;
  }
}

TEST(Golden, RefusesNaNInfinityAndZeroForAFiniteLoss) {
  for (const DType dtype : {DType::kFp16, DType::kBf16, DType::kFp32, DType::kFp64}) {
    const Case& finite = FiniteCase(dtype);  // which it has tried
    EXPECT_FALSE(finite.WrongLoss(Reduction::kSum, std::numeric_limits<double>::quiet_NaN()).empty());
  }
}

TEST(Golden, RefusesANaNThatIsNotCanonical) {
  const auto canonical = std::bit_cast<double>(uint64_t{0x7ff8000000000000u});
  const auto negative = std::bit_cast<double>(uint64_t{0xfff8000000000000u});
  int cases = 0;
  for (const auto& c : Exact()) {
    if (c->WrongLoss(Reduction::kMean, canonical).empty()) {
      EXPECT_FALSE(c->WrongLoss(Reduction::kMean, negative).empty());
      ++cases;
    }
  }
  EXPECT_GT(cases, 0);
}

TEST(Golden, RefusesOneFlippedBitOfAFrozenAnswer) {
  for (const auto& c : Frozen()) {
    if (c->name.find("rule 5") == std::string::npos) continue;
    // 4009a2dcd2e20f0a, as the file says.
    EXPECT_EQ(c->WrongLoss(Reduction::kSum, std::bit_cast<double>(uint64_t{0x4009a2dcd2e20f0au})), "");
    EXPECT_NE(c->WrongLoss(Reduction::kSum, std::bit_cast<double>(uint64_t{0x4009a2dcd2e20f0bu})), "");
    return;
  }
  FAIL() << "the case has gone";
}

TEST(Golden, RefusesPointwiseLossesOfTheWrongLengthOrValue) {
  for (const Cases* cases : {&Exact(), &Frozen()}) {
    for (const auto& c : *cases) {
      const auto size = static_cast<size_t>(c->elements * ElementSize(c->formula.output()));
      EXPECT_NE(c->WrongPointwise(std::string(size + 1, '\0')), "") << c->name;
      // No format's byte 5a repeated is an answer that occurs.
      if (size > 0) {
        EXPECT_NE(c->WrongPointwise(std::string(size, '\x5a')), "") << c->name;
      }
    }
  }
}

TEST(Golden, DividesByElementsBatchOrNothing) {
  for (const Cases* cases : {&Exact(), &Frozen()}) {
    for (const auto& c : *cases) {
      EXPECT_EQ(c->Divisor(Reduction::kSum), std::nullopt);
      EXPECT_EQ(c->Divisor(Reduction::kMean), c->elements);
      EXPECT_EQ(c->Divisor(Reduction::kBatchMean).has_value(), !c->shape.empty());
    }
  }
}

}  // namespace
}  // namespace kldiv::golden
