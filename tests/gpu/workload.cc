#include "tests/gpu/workload.h"

#include <cstring>
#include <memory>
#include <random>

namespace kldiv::cuda::testing {

using kldiv::testing::RandomPair;
using numerics::ElementSize;
using numerics::TileCount;

namespace {

constexpr double kUntouched = 123456789.0;
constexpr uint8_t kUntouchedByte = 0x5a;

// Whether `all` is `one` over and over.
template <class T>
bool Repeats(const std::vector<T>& all, const std::vector<T>& one) {
  for (size_t at = 0; at < all.size(); at += one.size()) {
    if (std::memcmp(&all[at], one.data(), one.size() * sizeof(T)) != 0) return false;
  }
  return true;
}

}  // namespace

Workload::Workload(const Shape& shape) : shape_(shape) {
  std::mt19937_64 random(1);
  RandomPair::Shape pair_shape;
  pair_shape.formula = shape.formula;
  pair_shape.elements = shape.elements;
  pair_ = std::make_unique<RandomPair>(pair_shape, random);
  const auto copies = static_cast<size_t>(shape.copies);
  if (shape.pointwise) {
    right_losses_ = pair_->Pointwise();
    losses_.assign(right_losses_.size() * copies, kUntouchedByte);
  } else {
    right_sums_ = pair_->TileSums();
    sums_.assign(right_sums_.size() * copies, kUntouched);
  }
  for (size_t i = 0; i < copies; ++i) {
    server::LanePair& lane_pair = lane_pairs_.emplace_back();
    lane_pair.pair = &pair_->pair();
    if (shape.pointwise) {
      lane_pair.pointwise = &losses_[i * right_losses_.size()];
    } else {
      lane_pair.tile_sums = &sums_[i * right_sums_.size()];
    }
    pieces_.push_back({&lane_pair, 0, TileCount(shape.elements)});
  }
}

int64_t Workload::tensor_bytes() const {
  return elements() * (ElementSize(shape_.formula.input) + ElementSize(shape_.formula.target));
}

int64_t Workload::answer_bytes() const {
  return static_cast<int64_t>(losses_.size() + sums_.size() * sizeof(double));
}

bool Workload::Right() const { return Repeats(losses_, right_losses_) && Repeats(sums_, right_sums_); }

}  // namespace kldiv::cuda::testing
