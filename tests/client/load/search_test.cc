// Bounds for latency, the rule that judges a load by its seconds, and the search itself.
#include "client/load/search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "client/load/slo.h"

namespace kldiv::load {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Verdict = StabilityRule::Verdict;

Slo SloOf(const std::string& text) {
  absl::StatusOr<Slo> slo = Slo::Parse(text);
  EXPECT_TRUE(slo.ok()) << slo.status();
  return *std::move(slo);
}

// `count` times of 1 ms and one of 9 ms.
Histogram MostlyOneMillisecond(int count) {
  Histogram histogram;
  for (int i = 0; i < count; ++i) histogram.Record(Duration(milliseconds(1)).count());
  histogram.Record(Duration(milliseconds(9)).count());
  return histogram;
}

TEST(Slo, ComparesThePercentileTheMeanOrTheLargest) {
  const Histogram latency = MostlyOneMillisecond(999);
  EXPECT_TRUE(SloOf("p50<1.1ms").MetBy(latency));
  EXPECT_FALSE(SloOf("p50<900us").MetBy(latency));
  EXPECT_TRUE(SloOf("p99.9<2ms").MetBy(latency));
  EXPECT_FALSE(SloOf("p99.99<2ms").MetBy(latency));
  EXPECT_TRUE(SloOf("p99.99<10ms").MetBy(latency));
  EXPECT_TRUE(SloOf("mean<1.1ms").MetBy(latency));
  EXPECT_FALSE(SloOf("mean<1ms").MetBy(latency));
  EXPECT_FALSE(SloOf("max<9ms").MetBy(latency));
  EXPECT_TRUE(SloOf("max<9001us").MetBy(latency));
}

TEST(Slo, NeedsEveryOneOfItsBounds) {
  const Histogram latency = MostlyOneMillisecond(999);
  EXPECT_TRUE(SloOf("p50<2ms,max<10ms").MetBy(latency));
  EXPECT_FALSE(SloOf("p50<2ms,max<5ms").MetBy(latency));
  EXPECT_FALSE(SloOf("p50<1us,max<10ms").MetBy(latency));
}

TEST(Slo, IsNotMetWithoutAnAnswer) { EXPECT_FALSE(SloOf("p50<9h").MetBy(Histogram())); }

TEST(Slo, RefusesWhatIsNoBound) {
  for (const char* text :
       {"", "p99", "p99<", "p99<5", "p99<-5ms", "p99<0ms", "p0<1ms", "p100<1ms", "pnan<1ms", "q99<5ms",
        "p99>5ms", "p99<5ms,", "p99<5ms,max", "p99<=5ms", "max<10h"}) {
    EXPECT_EQ(Slo::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

class StabilityRuleTest : public ::testing::Test {
 protected:
  static Window Second(uint64_t offered, uint64_t ok, uint64_t errors, Duration latency) {
    Window window;
    window.offered = offered;
    window.ok = ok;
    window.errors = errors;
    for (uint64_t i = 0; i < ok; ++i) window.latency.Record(latency.count());
    return window;
  }
  static Window Good() { return Second(1000, 990, 0, milliseconds(1)); }
  static Window Bad() { return Second(1000, 1000, 0, milliseconds(6)); }

  static StabilityRule Rule(double max_error_rate = 0, bool open_loop = true) {
    return {SloOf("p99<5ms"), max_error_rate, open_loop};
  }
  static Verdict Judge(const std::vector<Window>& windows) {
    StabilityRule rule = Rule();
    for (const Window& window : windows) rule.Judge(window);
    return rule.verdict();
  }
};

TEST_F(StabilityRuleTest, HoldsAfterThreeGoodSecondsInARow) {
  EXPECT_EQ(Judge({Good(), Good()}), Verdict::kOpen);
  EXPECT_EQ(Judge({Good(), Good(), Good()}), Verdict::kHolds);
  EXPECT_EQ(Judge({Bad(), Bad(), Good(), Good(), Good()}), Verdict::kHolds);
  EXPECT_EQ(Judge({Good(), Bad(), Good(), Good(), Good()}), Verdict::kHolds);
}

TEST_F(StabilityRuleTest, FailsAsSoonAsThreeInARowCannotBe) {
  EXPECT_EQ(Judge({Bad(), Bad()}), Verdict::kOpen);
  EXPECT_EQ(Judge({Bad(), Bad(), Bad()}), Verdict::kFails);
  EXPECT_EQ(Judge({Good(), Good(), Bad()}), Verdict::kFails);
  EXPECT_EQ(Judge({Good(), Bad(), Good(), Bad()}), Verdict::kFails);
}

TEST_F(StabilityRuleTest, StaysWithItsVerdict) {
  EXPECT_EQ(Judge({Good(), Good(), Good(), Bad(), Bad(), Bad()}), Verdict::kHolds);
  EXPECT_EQ(Judge({Bad(), Bad(), Bad(), Good(), Good(), Good()}), Verdict::kFails);
}

TEST_F(StabilityRuleTest, WantsTheOfferedRateOfAnOpenLoop) {
  const Window short_of = Second(1000, 978, 0, milliseconds(1));
  const Window just = Second(1000, 979, 0, milliseconds(1));
  StabilityRule rule = Rule();
  rule.Judge(short_of);
  rule.Judge(just);
  EXPECT_FALSE(rule.windows()[0].good);
  EXPECT_TRUE(rule.windows()[1].good);
  StabilityRule closed = Rule(0, /*open_loop=*/false);
  closed.Judge(short_of);
  EXPECT_TRUE(closed.windows()[0].good);
}

TEST_F(StabilityRuleTest, AllowsTheErrorsThatItIsToldToAllow) {
  const Window one_percent = Second(1000, 990, 10, milliseconds(1));
  StabilityRule strict = Rule(0.009);
  strict.Judge(one_percent);
  EXPECT_FALSE(strict.windows()[0].good);
  StabilityRule lenient = Rule(0.01);
  lenient.Judge(one_percent);
  EXPECT_TRUE(lenient.windows()[0].good);
}

TEST_F(StabilityRuleTest, TakesASecondWithoutAnyAnswerForBad) {
  StabilityRule rule = Rule(1, /*open_loop=*/false);
  rule.Judge(Second(0, 0, 0, milliseconds(1)));
  EXPECT_FALSE(rule.windows()[0].good);
}

TEST_F(StabilityRuleTest, SaysWhatItIs) {
  EXPECT_EQ(Rule(0.01).Text(),
            "a load holds when 3 seconds in a row, of 5 at most, each meet p99<5ms with at most 1 % of the "
            "calls failed "
            "and at least 98 % of the offered rate achieved");
}

struct Searched {
  std::optional<double> best;
  std::vector<double> tried;
};

// Of a server that bears up to `capacity`.
Searched Search(SearchLimits limits, double capacity) {
  Searched searched;
  searched.best = HighestThatHolds(limits, [&](double value) -> std::optional<bool> {
    searched.tried.push_back(value);
    return value <= capacity;
  });
  return searched;
}

TEST(HighestThatHolds, DoublesAndThenBisects) {
  const Searched searched = Search({.start = 100, .min = 1, .max = 1e6, .precision = 0.1}, 1000);
  EXPECT_THAT(searched.tried, ElementsAre(100, 200, 400, 800, 1600, 1200, 1000, 1100));
  EXPECT_EQ(searched.best, 1000);
}

TEST(HighestThatHolds, HalvesWhenTheStartIsTooMuch) {
  const Searched searched = Search({.start = 1000, .min = 1, .max = 1e6, .precision = 0.1}, 300);
  EXPECT_THAT(searched.tried, ElementsAre(1000, 500, 250, 375, 312.5, 281.25, 296.875));
  EXPECT_EQ(searched.best, 296.875);
}

TEST(HighestThatHolds, ComesAsCloseAsItsPrecision) {
  for (const double capacity : {3.0, 77.7, 1234.5, 987'654.3}) {
    const Searched searched = Search({.start = 1, .min = 1, .max = 1e7, .precision = 0.05}, capacity);
    ASSERT_TRUE(searched.best.has_value());
    EXPECT_LE(*searched.best, capacity);
    EXPECT_GE(*searched.best * 1.05, capacity);
  }
}

TEST(HighestThatHolds, FindsTheExactWholeNumberWhereThatIsCloseEnough) {
  const Searched searched = Search({.start = 1, .min = 1, .max = 65536, .whole = true, .precision = 0}, 37);
  EXPECT_EQ(searched.best, 37);
}

TEST(HighestThatHolds, StopsAtItsLimits) {
  EXPECT_EQ(Search({.start = 10, .min = 1, .max = 100}, 1e9).best, 100);
  const Searched none = Search({.start = 10, .min = 1, .max = 100}, 0.5);
  EXPECT_EQ(none.best, std::nullopt);
  EXPECT_THAT(none.tried, ElementsAre(10, 5, 2.5, 1.25, 1));
}

TEST(HighestThatHolds, EndsWithWhatItHasWhenItIsToldTo) {
  int left = 3;
  const std::optional<double> best =
      HighestThatHolds({.start = 1, .min = 1, .max = 1e6}, [&](double) -> std::optional<bool> {
        if (left-- == 0) return std::nullopt;
        return true;
      });
  EXPECT_EQ(best, 4);
}

}  // namespace
}  // namespace kldiv::load
