#include "tests/testing/random_pair.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

#include "server/numerics/scalar.h"

namespace kldiv::testing {

using numerics::DType;
using numerics::Formula;

namespace {

// In [0, bound).
size_t Below(size_t bound, std::mt19937_64& random) { return random() % bound; }

double Special(bool with_non_finite, std::mt19937_64& random) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  constexpr double kFinite[] = {0.0, -0.0, 1.0, 1e-40, 5e-324, 6e-8};
  constexpr double kNonFinite[] = {-1.0, -1e-40, kInfinity, -kInfinity, kNaN};  // a negative target is NaN
  return with_non_finite && Below(2, random) == 0 ? kNonFinite[Below(std::size(kNonFinite), random)]
                                                  : kFinite[Below(std::size(kFinite), random)];
}

std::vector<uint8_t> RandomTensor(DType dtype, const RandomPair::Shape& shape, bool logarithms,
                                  std::mt19937_64& random) {
  std::uniform_real_distribution<double> probability(0.0, 1.0);
  const auto size = static_cast<size_t>(ElementSize(dtype));
  std::vector<uint8_t> bytes(static_cast<size_t>(shape.elements) * size);
  for (size_t at = 0; at < bytes.size(); at += size) {
    double value = probability(random);
    if (logarithms) value = std::log(value + 1e-9);
    if (Below(100, random) == 0) value = Special(shape.with_non_finite, random);
    const uint64_t bits = numerics::scalar::Round(dtype, value);  // little-endian, as on the wire
    std::memcpy(bytes.data() + at, &bits, size);
  }
  return bytes;
}

}  // namespace

SlicedBytes::SlicedBytes(const std::vector<uint8_t>& bytes, size_t max_slice, std::mt19937_64& random) {
  size_t at = 0;
  const size_t skipped = Below(20, random);  // what else is in the first slice
  do {
    const size_t room =
        Below(10, random) == 0 ? 0 : std::min(bytes.size() - at, 1 + Below(max_slice, random));
    const size_t before = at == 0 && slices_.empty() ? skipped : 0;
    const size_t misalignment = Below(8, random);
    memory_.push_back(std::make_unique<uint8_t[]>(misalignment + before + room));
    uint8_t* const begin = memory_.back().get() + misalignment;
    std::copy_n(bytes.data() + at, room, begin + before);
    slices_.emplace_back(begin, before + room);
    at += room;
  } while (at < bytes.size());
  view_ = {slices_.data(), skipped, bytes.size()};
}

RandomPair::RandomPair(const Shape& shape, std::mt19937_64& random)
    : shape_(shape),
      input_bytes_(RandomTensor(shape.formula.input, shape, true, random)),
      target_bytes_(RandomTensor(shape.formula.target, shape, shape.formula.log_target, random)),
      input_(std::make_unique<SlicedBytes>(input_bytes_, shape.max_slice, random)),
      target_(std::make_unique<SlicedBytes>(target_bytes_, shape.max_slice, random)),
      pair_{shape.formula, shape.elements, input_->view(), target_->view()} {}

std::vector<double> RandomPair::TileSums() const {
  std::vector<double> sums(static_cast<size_t>(numerics::TileCount(shape_.elements)));
  numerics::scalar::TileSums(shape_.formula, input_bytes_.data(), target_bytes_.data(), shape_.elements,
                             sums.data());
  return sums;
}

double RandomPair::Sum() const {
  std::vector<double> sums = TileSums();
  return numerics::scalar::Fold(sums.data(), static_cast<int64_t>(sums.size()));
}

std::vector<uint8_t> RandomPair::Pointwise() const {
  std::vector<uint8_t> out(PointwiseBytes(pair_));
  numerics::scalar::Pointwise(shape_.formula, input_bytes_.data(), target_bytes_.data(), shape_.elements,
                              out.data());
  return out;
}

Formula RandomFormula(std::mt19937_64& random) {
  constexpr DType kDTypes[] = {DType::kFp16, DType::kBf16, DType::kFp32, DType::kFp64};
  return {kDTypes[Below(4, random)], kDTypes[Below(4, random)], Below(2, random) == 0, Below(2, random) == 0};
}

size_t PointwiseBytes(const wire::Pair& pair) {
  return static_cast<size_t>(pair.elements) * static_cast<size_t>(ElementSize(pair.formula.output()));
}

}  // namespace kldiv::testing
