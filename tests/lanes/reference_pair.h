#ifndef KLDIV_TESTS_LANES_REFERENCE_PAIR_H_
#define KLDIV_TESTS_LANES_REFERENCE_PAIR_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "server/lanes/cpu_kernel.h"
#include "server/numerics/reduce.h"
#include "server/numerics/scalar.h"
#include "tests/numerics/random_tensor.h"

namespace kldiv::cpu_kernel {

inline std::string Describe(const numerics::Formula& formula) {
  const auto number = [](numerics::DType dtype) { return std::to_string(static_cast<int>(dtype)); };
  return "dtypes " + number(formula.input) + ", " + number(formula.target) +
         (formula.log_target ? ", log_target" : "") + (formula.skip_zero_target ? ", skip" : "");
}

inline bool SameBits(double a, double b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); }

// Tile sums may differ in which NaN they are.
inline bool SameTileSum(double a, double b) { return SameBits(a, b) || (std::isnan(a) && std::isnan(b)); }

// A pair with the reference's answers for each of its beginnings: the reference is asked once, and a test can
// go through all lengths.
class ReferencePair {
 public:
  ReferencePair(std::mt19937_64& random, const numerics::Formula& formula, int64_t elements, int special)
      : formula_(formula),
        input_(numerics::RandomTensor(random, formula.input, elements, numerics::Contents::kLogProbabilities,
                                      special)),
        target_(numerics::RandomTensor(
            random, formula.target, elements,
            formula.log_target ? numerics::Contents::kLogProbabilities : numerics::Contents::kProbabilities,
            special)) {
    for (int64_t e = 0; e < elements; ++e) {
      losses_.push_back(
          numerics::scalar::Element(formula, numerics::scalar::Widen(formula.input, input_.data(), e),
                                    numerics::scalar::Widen(formula.target, target_.data(), e)));
    }
    for (int64_t first = 0; first + numerics::kTileElements <= elements; first += numerics::kTileElements) {
      full_tiles_.push_back(numerics::SumTile(&losses_[static_cast<size_t>(first)], numerics::kTileElements));
    }
  }

  const numerics::Formula& formula() const { return formula_; }
  int64_t elements() const { return static_cast<int64_t>(losses_.size()); }

  // What differs from the reference for the first `elements`, with the tensors at these distances from an
  // aligned address, and nothing readable behind them under AddressSanitizer; empty when nothing does.
  std::string Difference(int64_t elements, size_t input_offset, size_t target_offset) const {
    const std::vector<uint8_t> input = Shifted(input_, elements * ElementSize(formula_.input), input_offset);
    const std::vector<uint8_t> target =
        Shifted(target_, elements * ElementSize(formula_.target), target_offset);
    const uint8_t* x = input.data() + input_offset;
    const uint8_t* t = target.data() + target_offset;
    const std::string what = Describe(formula_) + ", " + std::to_string(elements) + " elements";

    std::vector<double> sums(static_cast<size_t>(numerics::TileCount(elements)) + 1, kUntouched);
    TileSums(formula_, x, t, elements, sums.data());
    if (!SameBits(sums.back(), kUntouched)) return what + ": wrote a tile sum too many";
    sums.pop_back();
    const std::vector<double> want = ReferenceTileSums(elements);
    for (size_t i = 0; i < sums.size(); ++i) {
      if (!SameTileSum(sums[i], want[i])) return what + ": tile " + std::to_string(i);
    }

    const auto size = static_cast<size_t>(ElementSize(formula_.output()));
    const size_t bytes = static_cast<size_t>(elements) * size;
    std::vector<uint8_t> out(bytes + input_offset + 1, kGuard);
    Pointwise(formula_, x, t, elements, out.data() + input_offset);
    if (out.back() != kGuard) return what + ": wrote a pointwise loss too many";
    for (int64_t e = 0; e < elements; ++e) {
      const uint64_t bits = numerics::scalar::Round(formula_.output(), losses_[static_cast<size_t>(e)]);
      if (std::memcmp(out.data() + input_offset + static_cast<size_t>(e) * size, &bits, size) != 0) {
        return what + ": pointwise loss of element " + std::to_string(e);
      }
    }
    return "";
  }

  // The same for tile sums alone and in place, which is quick.
  std::string TileSumDifference(int64_t elements) const {
    std::vector<double> sums(static_cast<size_t>(numerics::TileCount(elements)));
    TileSums(formula_, input_.data(), target_.data(), elements, sums.data());
    const std::vector<double> want = ReferenceTileSums(elements);
    if (!std::equal(sums.begin(), sums.end(), want.begin(), SameTileSum)) {
      return Describe(formula_) + ", " + std::to_string(elements) + " elements";
    }
    return "";
  }

 private:
  static constexpr double kUntouched = -77.0;
  static constexpr uint8_t kGuard = 0xa5;

  static std::vector<uint8_t> Shifted(const std::vector<uint8_t>& bytes, int64_t count, size_t offset) {
    std::vector<uint8_t> shifted(offset, kGuard);
    shifted.insert(shifted.end(), bytes.begin(), bytes.begin() + count);
    return shifted;
  }

  std::vector<double> ReferenceTileSums(int64_t elements) const {
    const int64_t full = elements / numerics::kTileElements;
    std::vector<double> sums(full_tiles_.begin(), full_tiles_.begin() + full);
    if (const int64_t rest = elements % numerics::kTileElements; rest > 0) {
      sums.push_back(numerics::SumTile(&losses_[static_cast<size_t>(full * numerics::kTileElements)], rest));
    }
    return sums;
  }

  numerics::Formula formula_;
  std::vector<uint8_t> input_, target_;
  std::vector<double> losses_;
  std::vector<double> full_tiles_;
};

}  // namespace kldiv::cpu_kernel

#endif  // KLDIV_TESTS_LANES_REFERENCE_PAIR_H_
