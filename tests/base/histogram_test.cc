#include "server/base/histogram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <thread>
#include <vector>

namespace kldiv::base {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kBounds[] = {0, 10, 100};

TEST(Histogram, CountsAValueInTheFirstBucketWhoseBoundIsNotBelowIt) {
  Histogram histogram(kBounds);
  for (const int64_t value : {-1, 0, 1, 10, 11, 100, 101, 5000}) histogram.Record(value);
  HistogramCounts counts;
  histogram.AddTo(counts);
  EXPECT_THAT(counts.buckets, ElementsAre(2, 2, 2, 2));
  EXPECT_EQ(counts.sum, 5222);
  EXPECT_EQ(counts.count(), 8);
}

TEST(Histogram, AddsItsCountsToThoseOfOthers) {
  Histogram one(kBounds);
  Histogram other(kBounds);
  one.Record(5);
  other.Record(50);
  HistogramCounts counts;
  one.AddTo(counts);
  other.AddTo(counts);
  EXPECT_THAT(counts.buckets, ElementsAre(0, 1, 1, 0));
  EXPECT_EQ(counts.sum, 55);
}

TEST(Histogram, LosesNothingWhenManyThreadsRecord) {
  Histogram histogram(kBounds);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&histogram] {
      for (int64_t value = 0; value < 10'000; ++value) histogram.Record(value % 200);
    });
  }
  for (std::thread& thread : threads) thread.join();
  HistogramCounts counts;
  histogram.AddTo(counts);
  EXPECT_THAT(counts.buckets, ElementsAre(200, 2000, 18'000, 19'800));
  EXPECT_EQ(counts.sum, 4 * 50 * 199 * 100);
}

TEST(Histogram, HasBoundsThatAscend) {
  EXPECT_TRUE(std::is_sorted(std::begin(kDurationBounds), std::end(kDurationBounds)));
  EXPECT_TRUE(std::is_sorted(std::begin(kSizeBounds), std::end(kSizeBounds)));
}

}  // namespace
}  // namespace kldiv::base
