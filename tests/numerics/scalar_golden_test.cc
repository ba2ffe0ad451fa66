#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/numerics/reduce.h"
#include "server/numerics/scalar.h"
#include "tests/golden/golden.h"

namespace kldiv::numerics {
namespace {

void Check(const golden::Cases& cases) {
  for (const auto& c : cases) {
    std::vector<double> sums(static_cast<size_t>(TileCount(c->elements)));
    scalar::TileSums(c->formula, c->input.data(), c->target.data(), c->elements, sums.data());
    const double sum = scalar::Fold(sums.data(), static_cast<int64_t>(sums.size()));
    for (const golden::Reduction reduction : golden::kReductions) {
      const auto divisor = c->Divisor(reduction);
      EXPECT_EQ(c->WrongLoss(reduction, divisor ? Divide(sum, *divisor) : sum), "");
    }
    std::string losses(static_cast<size_t>(c->elements * ElementSize(c->formula.output())), '\0');
    scalar::Pointwise(c->formula, c->input.data(), c->target.data(), c->elements, losses.data());
    EXPECT_EQ(c->WrongPointwise(losses), "");
  }
}

TEST(ScalarReference, IsWithinTheToleranceOfExactValues) { Check(golden::ExactCases()); }

TEST(ScalarReference, GivesTheFrozenBits) { Check(golden::FrozenCases()); }

}  // namespace
}  // namespace kldiv::numerics
