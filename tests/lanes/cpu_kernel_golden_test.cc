#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/lanes/cpu_kernel.h"
#include "server/numerics/reduce.h"
#include "tests/golden/golden.h"

namespace kldiv::cpu_kernel {
namespace {

using numerics::TileCount;

class CpuKernelGolden : public testing::TestWithParam<std::string> {
 protected:
  CpuKernelGolden() { UseInstructionSet(GetParam()); }

  static void Check(const golden::Cases& cases) {
    for (const auto& c : cases) {
      std::vector<double> sums(static_cast<size_t>(TileCount(c->elements)));
      TileSums(c->formula, c->input.data(), c->target.data(), c->elements, sums.data());
      const double sum = Fold(sums.data(), static_cast<int64_t>(sums.size()));
      for (const golden::Reduction reduction : golden::kReductions) {
        const auto divisor = c->Divisor(reduction);
        EXPECT_EQ(c->WrongLoss(reduction, divisor ? numerics::Divide(sum, *divisor) : sum), "");
      }
      std::string losses(static_cast<size_t>(c->elements * ElementSize(c->formula.output())), '\0');
      Pointwise(c->formula, c->input.data(), c->target.data(), c->elements, losses.data());
      EXPECT_EQ(c->WrongPointwise(losses), "");
    }
  }
};

TEST_P(CpuKernelGolden, IsWithinTheToleranceOfExactValues) { Check(golden::ExactCases()); }

TEST_P(CpuKernelGolden, GivesTheFrozenBits) { Check(golden::FrozenCases()); }

std::string TestName(const testing::TestParamInfo<std::string>& info) {
  std::string name;
  for (const char c : info.param) {
    if (c != '-') name.push_back(c);
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(EveryInstructionSet, CpuKernelGolden, testing::ValuesIn(SupportedInstructionSets()),
                         TestName);

}  // namespace
}  // namespace kldiv::cpu_kernel
