#include "client/load/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace kldiv::load {
namespace {

constexpr int kArrivalCount = 100'000;
constexpr double kRate = 5000;

// Seconds between one arrival and the next; the first from the start.
std::vector<double> Gaps(Arrivals arrivals, uint64_t seed) {
  Schedule schedule(arrivals, kRate, seed);
  std::vector<double> gaps;
  double last = 0;
  for (int i = 0; i < kArrivalCount; ++i) {
    const double next = ToSeconds(schedule.Next());
    gaps.push_back(next - last);
    last = next;
  }
  return gaps;
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

TEST(Schedule, ConstantArrivalsAreWhereTheRateSays) {
  Schedule schedule(Arrivals::kConstant, 3, 1);
  EXPECT_EQ(schedule.Next().count(), 0);
  EXPECT_EQ(schedule.Next().count(), 333'333'333);
  EXPECT_EQ(schedule.Next().count(), 666'666'667);
  EXPECT_EQ(schedule.Next().count(), 1'000'000'000);
  for (int i = 4; i < 3'000'000; ++i) schedule.Next();
  EXPECT_EQ(schedule.Next(), std::chrono::seconds(1'000'000));
}

TEST(Schedule, PoissonArrivalsHaveTheRate) {
  // The mean of n gaps deviates by 1 / sqrt(n) of itself, relatively; 4 of those are too many once in 16,000
  // seeds.
  EXPECT_NEAR(Mean(Gaps(Arrivals::kPoisson, 1)) * kRate, 1, 4 / std::sqrt(kArrivalCount));
}

TEST(Schedule, PoissonGapsAreExponential) {
  std::vector<double> gaps = Gaps(Arrivals::kPoisson, 2);
  std::sort(gaps.begin(), gaps.end());
  double largest = 0;  // Kolmogorov and Smirnov's distance
  for (size_t i = 0; i < gaps.size(); ++i) {
    const double expected = -std::expm1(-kRate * gaps[i]);
    const double n = kArrivalCount;
    largest = std::max({largest, std::abs(expected - static_cast<double>(i) / n),
                        std::abs(expected - static_cast<double>(i + 1) / n)});
  }
  EXPECT_LT(largest, 1.95 / std::sqrt(kArrivalCount));  // exceeded once in a thousand seeds
}

TEST(Schedule, PoissonGapsDoNotDependOnEachOther) {
  const std::vector<double> gaps = Gaps(Arrivals::kPoisson, 3);
  const double mean = Mean(gaps);
  double covariance = 0;
  double variance = 0;
  for (size_t i = 1; i < gaps.size(); ++i) {
    covariance += (gaps[i] - mean) * (gaps[i - 1] - mean);
    variance += (gaps[i] - mean) * (gaps[i] - mean);
  }
  EXPECT_NEAR(covariance / variance, 0, 4 / std::sqrt(kArrivalCount));
}

TEST(Schedule, PoissonCountsInASecondVaryAsTheirMean) {
  Schedule schedule(Arrivals::kPoisson, 100, 4);
  constexpr int kSeconds = 10'000;
  std::vector<double> counts(kSeconds);
  for (Duration at = schedule.Next(); at < std::chrono::seconds(kSeconds); at = schedule.Next()) {
    ++counts[static_cast<size_t>(at / std::chrono::seconds(1))];
  }
  const double mean = Mean(counts);
  double variance = 0;
  for (const double count : counts) variance += (count - mean) * (count - mean) / kSeconds;
  EXPECT_NEAR(variance / mean, 1, 4 * std::sqrt(2.0 / kSeconds));
}

TEST(Schedule, SameSeedGivesTheSameArrivals) {
  EXPECT_EQ(Gaps(Arrivals::kPoisson, 5), Gaps(Arrivals::kPoisson, 5));
  EXPECT_NE(Gaps(Arrivals::kPoisson, 5), Gaps(Arrivals::kPoisson, 6));
}

}  // namespace
}  // namespace kldiv::load
