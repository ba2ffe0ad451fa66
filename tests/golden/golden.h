#ifndef KLDIV_TESTS_GOLDEN_GOLDEN_H_
#define KLDIV_TESTS_GOLDEN_GOLDEN_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/numerics/formula.h"

// Pairs of tensors whose right answers are known, and the one judge of them for every executor: the scalar
// reference, the instruction sets, CUDA, a server.
namespace kldiv::golden {

enum class Reduction { kSum, kMean, kBatchMean };
inline constexpr Reduction kReductions[] = {Reduction::kSum, Reduction::kMean, Reduction::kBatchMean};

// One pair. Immutable.
class Case {
 public:
  virtual ~Case() = default;

  std::string name;  // for messages: names are unique, with dtype and formula
  numerics::Formula formula;
  std::vector<int64_t> shape;  // of both tensors
  int64_t elements = 0;
  std::string input, target;  // little-endian, row-major

  // What the sum is divided by; nullopt: it is not divided.
  std::optional<int64_t> Divisor(Reduction reduction) const;

  // What is wrong with the answer; empty when it is right.
  virtual std::string WrongLoss(Reduction reduction, double loss) const = 0;

  // The same for the pointwise losses, as bytes in the formula's output dtype.
  virtual std::string WrongPointwise(std::string_view bytes) const = 0;
};

using Cases = std::vector<std::unique_ptr<const Case>>;

// 648 pairs with values computed to 60 digits. Right is a loss within 2^-40 of its scale (FP64: 2^-50) and
// 1e-320; a pointwise loss within that and half a unit in the last place; infinities and NaNs where the exact
// value is one, every NaN being the canonical one.
Cases ExactCases();

// 327 pairs with the bits of numerics version 1. Right is the same bits.
Cases FrozenCases();

}  // namespace kldiv::golden

#endif  // KLDIV_TESTS_GOLDEN_GOLDEN_H_
