#ifndef KLDIV_SERVER_BASE_HISTOGRAM_H_
#define KLDIV_SERVER_BASE_HISTOGRAM_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace kldiv::base {

// What a histogram has counted: buckets[i] values above the i-th bound's predecessor and up to the i-th
// bound, the last bucket those above all bounds.
struct HistogramCounts {
  std::vector<int64_t> buckets;
  int64_t sum = 0;  // of all values

  int64_t count() const {
    int64_t count = 0;
    for (const int64_t bucket : buckets) count += bucket;
    return count;
  }
};

// Counts values by ranges. Record costs some twenty instructions and waits for nobody, but who records often
// should have one of his own: a line of memory that two cores write travels between them.
//
// Thread-safe.
class Histogram {
 public:
  // `bounds` ascend and outlive the histogram.
  explicit Histogram(std::span<const int64_t> bounds)
      : bounds_(bounds), buckets_(std::make_unique<std::atomic<int64_t>[]>(bounds.size() + 1)) {}

  void Record(int64_t value) {
    const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
    buckets_[static_cast<size_t>(bound - bounds_.begin())].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
  }

  // Adds what it has counted to `counts`, which is empty or of the same bounds.
  void AddTo(HistogramCounts& counts) const {
    counts.buckets.resize(bounds_.size() + 1);
    for (size_t i = 0; i < counts.buckets.size(); ++i) {
      counts.buckets[i] += buckets_[i].load(std::memory_order_relaxed);
    }
    counts.sum += sum_.load(std::memory_order_relaxed);
  }

 private:
  const std::span<const int64_t> bounds_;
  const std::unique_ptr<std::atomic<int64_t>[]> buckets_;
  std::atomic<int64_t> sum_ = 0;
};

// Bounds of durations, in nanoseconds, and of sizes, in bytes: those that gRPC's proposal A66 recommends.
inline constexpr int64_t kDurationBounds[] = {0,
                                              10'000,
                                              50'000,
                                              100'000,
                                              300'000,
                                              600'000,
                                              800'000,
                                              1'000'000,
                                              2'000'000,
                                              3'000'000,
                                              4'000'000,
                                              5'000'000,
                                              6'000'000,
                                              8'000'000,
                                              10'000'000,
                                              13'000'000,
                                              16'000'000,
                                              20'000'000,
                                              25'000'000,
                                              30'000'000,
                                              40'000'000,
                                              50'000'000,
                                              65'000'000,
                                              80'000'000,
                                              100'000'000,
                                              130'000'000,
                                              160'000'000,
                                              200'000'000,
                                              250'000'000,
                                              300'000'000,
                                              400'000'000,
                                              500'000'000,
                                              650'000'000,
                                              800'000'000,
                                              1'000'000'000,
                                              2'000'000'000,
                                              5'000'000'000,
                                              10'000'000'000,
                                              20'000'000'000,
                                              50'000'000'000,
                                              100'000'000'000};
inline constexpr int64_t kSizeBounds[] = {0,        1 << 10,   2 << 10,          4 << 10,         16 << 10,
                                          64 << 10, 256 << 10, 1 << 20,          4 << 20,         16 << 20,
                                          64 << 20, 256 << 20, int64_t{1} << 30, int64_t{4} << 30};

}  // namespace kldiv::base

#endif  // KLDIV_SERVER_BASE_HISTOGRAM_H_
