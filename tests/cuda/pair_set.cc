#include "tests/cuda/pair_set.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "server/numerics/scalar.h"
#include "tests/numerics/random_tensor.h"

namespace kldiv::cuda::testing {

using numerics::Contents;
using numerics::Formula;
using numerics::TileCount;
using server::Piece;

namespace {

constexpr double kUntouched = 123456789.0;
constexpr uint8_t kUntouchedByte = 0x5a;
constexpr size_t kMaxSlice = size_t{16} << 10;

// Tile sums may differ in which NaN they are.
bool SameTileSum(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b) || (std::isnan(a) && std::isnan(b));
}

std::string Describe(const Formula& formula, int64_t elements) {
  return "dtypes " + std::to_string(static_cast<int>(formula.input)) + ", " +
         std::to_string(static_cast<int>(formula.target)) + (formula.log_target ? ", log_target" : "") +
         (formula.skip_zero_target ? ", skip" : "") + ", " + std::to_string(elements) + " elements";
}

}  // namespace

void PairSet::AddRandom(std::mt19937_64& random, const Formula& formula, int64_t elements, bool pointwise,
                        int special) {
  std::vector<uint8_t> input =
      numerics::RandomTensor(random, formula.input, elements, Contents::kLogProbabilities, special);
  std::vector<uint8_t> target = numerics::RandomTensor(
      random, formula.target, elements,
      formula.log_target ? Contents::kLogProbabilities : Contents::kProbabilities, special);
  Add(formula, std::move(input), std::move(target), pointwise, random);
}

void PairSet::Add(const Formula& formula, std::vector<uint8_t> input, std::vector<uint8_t> target,
                  bool pointwise, std::mt19937_64& random) {
  OnePair& one = pairs_.emplace_back();
  one.input = std::move(input);
  one.target = std::move(target);
  one.sliced_input = std::make_unique<kldiv::testing::SlicedBytes>(one.input, kMaxSlice, random);
  one.sliced_target = std::make_unique<kldiv::testing::SlicedBytes>(one.target, kMaxSlice, random);
  const auto elements = static_cast<int64_t>(one.input.size()) / ElementSize(formula.input);
  one.pair = {formula, elements, one.sliced_input->view(), one.sliced_target->view()};
  one.lane.pair = &one.pair;
  if (pointwise) {
    one.losses.assign(kldiv::testing::PointwiseBytes(one.pair), kUntouchedByte);
    one.lane.pointwise = one.losses.data();
  } else {
    one.tile_sums.assign(static_cast<size_t>(TileCount(elements)), kUntouched);
    one.lane.tile_sums = one.tile_sums.data();
  }
}

std::vector<Piece> PairSet::Pieces() const {
  std::vector<Piece> pieces;
  for (const OnePair& one : pairs_) {
    if (one.pair.elements > 0) pieces.push_back({&one.lane, 0, TileCount(one.pair.elements)});
  }
  return pieces;
}

std::vector<Piece> PairSet::CutPieces(std::mt19937_64& random) const {
  std::vector<Piece> pieces;
  for (const Piece& whole : Pieces()) {
    for (int64_t first = 0; first < whole.tile_count;) {
      const auto left = static_cast<uint64_t>(whole.tile_count - first);
      const auto tiles = static_cast<int64_t>(1 + random() % left);
      pieces.push_back({whole.pair, first, tiles});
      first += tiles;
    }
  }
  std::shuffle(pieces.begin(), pieces.end(), random);
  return pieces;
}

void PairSet::ForgetResults() {
  for (OnePair& one : pairs_) {
    std::fill(one.tile_sums.begin(), one.tile_sums.end(), kUntouched);
    std::fill(one.losses.begin(), one.losses.end(), kUntouchedByte);
  }
}

std::string PairSet::Difference() const {
  for (size_t i = 0; i < pairs_.size(); ++i) {
    const std::string difference = DifferenceOf(pairs_[i]);
    if (!difference.empty()) {
      return "pair " + std::to_string(i) + " of " + std::to_string(pairs_.size()) + ", " +
             Describe(pairs_[i].pair.formula, pairs_[i].pair.elements) + ": " + difference;
    }
  }
  return "";
}

std::string PairSet::DifferenceOf(const OnePair& one) {
  const Formula& formula = one.pair.formula;
  if (one.lane.pointwise != nullptr) {
    std::vector<uint8_t> want(one.losses.size());
    numerics::scalar::Pointwise(formula, one.input.data(), one.target.data(), one.pair.elements, want.data());
    const auto wrong = std::mismatch(want.begin(), want.end(), one.losses.begin()).first;
    if (wrong == want.end()) return "";
    return "pointwise loss of element " +
           std::to_string((wrong - want.begin()) / ElementSize(formula.output()));
  }
  std::vector<double> want(one.tile_sums.size());
  numerics::scalar::TileSums(formula, one.input.data(), one.target.data(), one.pair.elements, want.data());
  for (size_t i = 0; i < want.size(); ++i) {
    if (!SameTileSum(want[i], one.tile_sums[i])) {
      return "tile " + std::to_string(i) + " is " + std::to_string(one.tile_sums[i]) + ", not " +
             std::to_string(want[i]);
    }
  }
  return "";
}

}  // namespace kldiv::cuda::testing
