#ifndef KLDIV_TESTS_CUDA_PAIR_SET_H_
#define KLDIV_TESTS_CUDA_PAIR_SET_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "proto/wire/pair.h"
#include "server/lanes/lane.h"
#include "server/numerics/formula.h"
#include "tests/testing/random_pair.h"

namespace kldiv::cuda::testing {

// Pairs for a lane to evaluate, room for its results, and their comparison with the scalar reference.
class PairSet {
 public:
  PairSet() = default;
  PairSet(const PairSet&) = delete;
  PairSet& operator=(const PairSet&) = delete;

  // A pair of random contents, in slices as a transport delivers them; every `special`-th element or so is a
  // value at which arithmetic goes wrong, 0: none. With `pointwise` its losses are asked for, not its sum.
  void AddRandom(std::mt19937_64& random, const numerics::Formula& formula, int64_t elements, bool pointwise,
                 int special);
  // A pair of these bytes.
  void Add(const numerics::Formula& formula, std::vector<uint8_t> input, std::vector<uint8_t> target,
           bool pointwise, std::mt19937_64& random);

  size_t size() const { return pairs_.size(); }

  // Every pair that has elements, whole.
  std::vector<server::Piece> Pieces() const;
  // The same pairs cut at random tiles, in random order.
  std::vector<server::Piece> CutPieces(std::mt19937_64& random) const;

  // The results of the index-th pair, as the lane left them.
  const std::vector<double>& tile_sums(size_t index) const { return pairs_[index].tile_sums; }
  const std::vector<uint8_t>& pointwise(size_t index) const { return pairs_[index].losses; }

  // Back to results that are wrong everywhere.
  void ForgetResults();

  // Empty when all results are those of the scalar reference; otherwise which is not.
  std::string Difference() const;

 private:
  struct OnePair {
    wire::Pair pair;
    std::vector<uint8_t> input;
    std::vector<uint8_t> target;
    std::unique_ptr<kldiv::testing::SlicedBytes> sliced_input;
    std::unique_ptr<kldiv::testing::SlicedBytes> sliced_target;
    std::vector<double> tile_sums;
    std::vector<uint8_t> losses;
    server::LanePair lane;
  };

  static std::string DifferenceOf(const OnePair& one);

  std::deque<OnePair> pairs_;
};

// What differs between pairs' formulas.
inline constexpr numerics::DType kDTypes[] = {numerics::DType::kFp16, numerics::DType::kBf16,
                                              numerics::DType::kFp32, numerics::DType::kFp64};

}  // namespace kldiv::cuda::testing

#endif  // KLDIV_TESTS_CUDA_PAIR_SET_H_
