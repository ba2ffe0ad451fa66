#ifndef KLDIV_CLIENT_LOAD_HISTOGRAM_H_
#define KLDIV_CLIENT_LOAD_HISTOGRAM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kldiv::load {

// A distribution of times in nanoseconds, from 0 to kMax (9.7 hours; longer ones count as that), in fixed
// memory of 150 kB.
//
// Buckets are one nanosecond wide up to 1023 and then 512 to each doubling: a time is reported as the middle
// of its bucket, which is within 1/1024 of it. Count, smallest, largest and mean are exact.
//
// Not thread-safe.
class Histogram {
 public:
  static constexpr int64_t kMax = (int64_t{1} << 45) - 1;
  static constexpr double kMaxRelativeError = 1.0 / 1024;

  Histogram() : buckets_(kBuckets) {}

  void Record(int64_t ns);  // negative times count as 0

  // As if all that `other` has recorded had been recorded here too.
  void Merge(const Histogram& other);

  void Clear();

  uint64_t count() const { return count_; }
  // 0 when there is nothing.
  int64_t min() const { return min_; }
  int64_t max() const { return max_; }
  double mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

  // The smallest recorded time that is not exceeded by the share `quantile` (0 to 1) of all: the one of rank
  // ceil(quantile * count), at least 1. 1 gives max(). 0 when there is nothing.
  int64_t Percentile(double quantile) const;

  // One point of a percentile spectrum.
  struct Point {
    double quantile = 0;
    int64_t ns = 0;
    uint64_t at_most = 0;  // times up to this bucket's
  };
  // Percentiles that get denser towards 1: five to each halving of what is left, until less than one time is
  // left; the last is the largest. Empty when there is nothing.
  std::vector<Point> Spectrum() const;

 private:
  static constexpr int kLinearBits = 10;                    // bucket width 1 below 2^10
  static constexpr int64_t kHalf = 1 << (kLinearBits - 1);  // buckets to each doubling above
  static constexpr size_t kBuckets = (1 << kLinearBits) + (45 - kLinearBits) * kHalf;

  static size_t Bucket(int64_t ns);
  static int64_t Middle(size_t bucket);
  // The point at `quantile`, of a rank at least `below.at_most` when the search may begin behind `bucket`.
  Point PointAt(double quantile) const;

  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  int64_t min_ = 0;
  int64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_HISTOGRAM_H_
