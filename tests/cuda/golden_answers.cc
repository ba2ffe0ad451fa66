#include "tests/cuda/golden_answers.h"

#include <random>
#include <string_view>

#include "server/numerics/reduce.h"
#include "server/numerics/scalar.h"
#include "tests/cuda/pair_set.h"

namespace kldiv::cuda::testing {

std::vector<std::string> WrongGoldenAnswers(server::Lane& lane, const golden::Cases& cases,
                                            int64_t max_elements) {
  std::mt19937_64 random(1);
  std::vector<const golden::Case*> chosen;
  PairSet pairs;
  for (const auto& c : cases) {
    if (c->elements > max_elements) continue;
    chosen.push_back(c.get());
    for (const bool pointwise : {false, true}) {
      pairs.Add(c->formula, {c->input.begin(), c->input.end()}, {c->target.begin(), c->target.end()},
                pointwise, random);
    }
  }

  std::vector<std::string> wrong;
  const auto add = [&wrong](std::string what) {
    if (!what.empty()) wrong.push_back(std::move(what));
  };
  if (const absl::Status status = lane.Run(pairs.Pieces()); !status.ok()) return {status.ToString()};
  for (size_t i = 0; i < chosen.size(); ++i) {
    std::vector<double> sums = pairs.tile_sums(2 * i);
    const double sum = numerics::scalar::Fold(sums.data(), static_cast<int64_t>(sums.size()));
    for (const golden::Reduction reduction : golden::kReductions) {
      const auto divisor = chosen[i]->Divisor(reduction);
      add(chosen[i]->WrongLoss(reduction, divisor ? numerics::Divide(sum, *divisor) : sum));
    }
    const std::vector<uint8_t>& losses = pairs.pointwise(2 * i + 1);
    add(chosen[i]->WrongPointwise({reinterpret_cast<const char*>(losses.data()), losses.size()}));
  }
  return wrong;
}

}  // namespace kldiv::cuda::testing
