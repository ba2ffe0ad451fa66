#include "client/load/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace kldiv::load {
namespace {

constexpr double kQuantiles[] = {0, 0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 1};

// Times of all magnitudes alike, from 1 ns to nine hours.
std::vector<int64_t> RandomTimes(uint64_t seed, size_t count) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> exponent(0, std::log2(static_cast<double>(Histogram::kMax)));
  std::vector<int64_t> times(count);
  for (int64_t& time : times) time = static_cast<int64_t>(std::exp2(exponent(random)));
  return times;
}

// What Percentile promises, from all times in order.
int64_t ExactPercentile(const std::vector<int64_t>& sorted, double quantile) {
  const double rank = std::ceil(quantile * static_cast<double>(sorted.size()));
  return sorted[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

void ExpectWithinBound(int64_t actual, int64_t exact) {
  EXPECT_LE(std::abs(static_cast<double>(actual - exact)),
            Histogram::kMaxRelativeError * static_cast<double>(exact))
      << actual << " for " << exact;
}

TEST(Histogram, TellsEachTimeWithinItsErrorBound) {
  const auto expect = [](int64_t time) {
    Histogram histogram;
    histogram.Record(0);
    histogram.Record(time);
    histogram.Record(Histogram::kMax);
    // Between a smaller and a larger one it is its bucket's.
    ExpectWithinBound(histogram.Percentile(0.5), time);
  };
  for (int64_t power = 1; power < Histogram::kMax; power *= 2) {
    for (const int64_t time : {power - 1, power, power + 1, power + power / 2}) expect(time);
  }
  for (const int64_t time : RandomTimes(1, 2000)) expect(time);
}

TEST(Histogram, TellsPercentilesOfManyTimes) {
  std::vector<int64_t> times = RandomTimes(2, 300'000);
  Histogram histogram;
  for (const int64_t time : times) histogram.Record(time);
  std::sort(times.begin(), times.end());
  for (const double quantile : kQuantiles) {
    SCOPED_TRACE(quantile);
    ExpectWithinBound(histogram.Percentile(quantile), ExactPercentile(times, quantile));
  }
}

TEST(Histogram, TakesTheNearestRank) {
  Histogram histogram;
  for (int64_t time = 1; time <= 1000; ++time) histogram.Record(time);
  EXPECT_EQ(histogram.Percentile(0), 1);
  EXPECT_EQ(histogram.Percentile(0.5), 500);
  EXPECT_EQ(histogram.Percentile(0.5001), 501);
  EXPECT_EQ(histogram.Percentile(0.99), 990);
  EXPECT_EQ(histogram.Percentile(0.999), 999);
  EXPECT_EQ(histogram.Percentile(0.9991), 1000);
}

TEST(Histogram, KnowsTheSmallestTheLargestAndTheMeanExactly) {
  Histogram histogram;
  for (const int64_t time : {INT64_C(1'234'567'891), INT64_C(987'654'321), INT64_C(5'555'555'557)})
    histogram.Record(time);
  EXPECT_EQ(histogram.count(), 3U);
  EXPECT_EQ(histogram.min(), 987'654'321);
  EXPECT_EQ(histogram.max(), 5'555'555'557);
  EXPECT_EQ(histogram.Percentile(1), 5'555'555'557);
  EXPECT_DOUBLE_EQ(histogram.mean(), (1'234'567'891.0 + 987'654'321 + 5'555'555'557) / 3);
}

TEST(Histogram, CountsTimesBeyondItsRangeAsItsEnds) {
  Histogram histogram;
  histogram.Record(-5);
  histogram.Record(INT64_MAX);
  EXPECT_EQ(histogram.min(), 0);
  EXPECT_EQ(histogram.max(), Histogram::kMax);
}

TEST(Histogram, IsZeroWithoutTimes) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.Percentile(0.5), 0);
  EXPECT_EQ(histogram.mean(), 0);
  EXPECT_TRUE(histogram.Spectrum().empty());
}

TEST(Histogram, MergesAsIfOneHadRecordedAll) {
  Histogram whole;
  Histogram merged;
  for (const uint64_t seed : {3, 4, 5}) {
    Histogram part;
    for (const int64_t time : RandomTimes(seed, 1000)) {
      whole.Record(time);
      part.Record(time);
    }
    merged.Merge(part);
    merged.Merge(Histogram());
  }
  EXPECT_EQ(merged.count(), whole.count());
  EXPECT_EQ(merged.min(), whole.min());
  EXPECT_EQ(merged.max(), whole.max());
  EXPECT_NEAR(merged.mean(), whole.mean(), 1e-9 * whole.mean());
  for (const double quantile : kQuantiles) EXPECT_EQ(merged.Percentile(quantile), whole.Percentile(quantile));
}

TEST(Histogram, SpectrumRisesToTheLargestAndAgreesWithThePercentiles) {
  Histogram histogram;
  for (const int64_t time : RandomTimes(6, 10'000)) histogram.Record(time);
  const std::vector<Histogram::Point> spectrum = histogram.Spectrum();
  ASSERT_GT(spectrum.size(), 50U);
  for (size_t i = 0; i < spectrum.size(); ++i) {
    EXPECT_EQ(spectrum[i].ns, i == 0 ? histogram.min() : histogram.Percentile(spectrum[i].quantile));
    EXPECT_GE(static_cast<double>(spectrum[i].at_most), spectrum[i].quantile * 10'000 - 1e-6);
    if (i == 0) continue;
    EXPECT_GT(spectrum[i].quantile, spectrum[i - 1].quantile);
    EXPECT_GE(spectrum[i].ns, spectrum[i - 1].ns);
    EXPECT_GE(spectrum[i].at_most, spectrum[i - 1].at_most);
  }
  EXPECT_EQ(spectrum.back().quantile, 1);
  EXPECT_EQ(spectrum.back().ns, histogram.max());
  EXPECT_EQ(spectrum.back().at_most, 10'000U);
}

}  // namespace
}  // namespace kldiv::load
