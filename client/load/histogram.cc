#include "client/load/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace kldiv::load {

size_t Histogram::Bucket(int64_t ns) {
  if (ns < (int64_t{1} << kLinearBits)) return static_cast<size_t>(ns);
  const int shift = static_cast<int>(std::bit_width(static_cast<uint64_t>(ns))) - kLinearBits;
  return static_cast<size_t>((int64_t{1} << kLinearBits) + (shift - 1) * kHalf + (ns >> shift) - kHalf);
}

int64_t Histogram::Middle(size_t bucket) {
  const auto index = static_cast<int64_t>(bucket);
  if (index < (int64_t{1} << kLinearBits)) return index;
  const int64_t above = index - (int64_t{1} << kLinearBits);
  const auto shift = static_cast<int>(above / kHalf + 1);
  return ((kHalf + above % kHalf) << shift) + (int64_t{1} << (shift - 1));
}

void Histogram::Record(int64_t ns) {
  ns = std::clamp<int64_t>(ns, 0, kMax);
  ++buckets_[Bucket(ns)];
  min_ = count_ == 0 ? ns : std::min(min_, ns);
  max_ = std::max(max_, ns);
  sum_ += static_cast<double>(ns);
  ++count_;
}

void Histogram::Merge(const Histogram& other) {
  if (other.count_ == 0) return;
  for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
  count_ += other.count_;
}

void Histogram::Clear() { *this = Histogram(); }

Histogram::Point Histogram::PointAt(double quantile) const {
  // What the product has too much by rounding must not become a rank.
  const double wanted = std::ceil(quantile * static_cast<double>(count_) * (1 - 1e-14));
  const uint64_t rank = std::clamp<uint64_t>(static_cast<uint64_t>(std::max(wanted, 1.0)), 1, count_);
  uint64_t at_most = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    at_most += buckets_[i];
    if (at_most < rank) continue;
    const int64_t ns = rank == count_ ? max_ : std::clamp(Middle(i), min_, max_);
    return {quantile, ns, at_most};
  }
  return {quantile, max_, count_};
}

int64_t Histogram::Percentile(double quantile) const { return count_ == 0 ? 0 : PointAt(quantile).ns; }

std::vector<Histogram::Point> Histogram::Spectrum() const {
  constexpr int kPointsToAHalving = 5;
  std::vector<Point> points;
  if (count_ == 0) return points;
  points.push_back({0, min_, PointAt(0).at_most});
  for (double left = 1; left * static_cast<double>(count_) >= 1; left /= 2) {
    for (int i = 0; i < kPointsToAHalving; ++i) {
      const double quantile = 1 - left * (1 - 0.5 * i / kPointsToAHalving);
      if (quantile > 0) points.push_back(PointAt(quantile));
    }
  }
  points.push_back({1, max_, count_});
  return points;
}

}  // namespace kldiv::load
