#include "server/observability/log_rate_limit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace kldiv::server {
namespace {

using std::chrono::milliseconds;
using Clock = LogRateLimit::Clock;

constexpr Clock::time_point kStart{};

TEST(LogRateLimit, LetsSoManyLinesPassInAPeriod) {
  LogRateLimit limit(2, milliseconds(100));
  EXPECT_EQ(limit.Pass(kStart), 0);
  EXPECT_EQ(limit.Pass(kStart + milliseconds(99)), 0);
  EXPECT_EQ(limit.Pass(kStart + milliseconds(99)), std::nullopt);
}

TEST(LogRateLimit, SaysHowManyItSuppressedOnce) {
  LogRateLimit limit(1, milliseconds(100));
  EXPECT_EQ(limit.Pass(kStart), 0);
  EXPECT_EQ(limit.Pass(kStart), std::nullopt);
  EXPECT_EQ(limit.Pass(kStart), std::nullopt);
  EXPECT_EQ(limit.Pass(kStart + milliseconds(100)), 2);
  EXPECT_EQ(limit.Pass(kStart + milliseconds(200)), 0);
}

TEST(LogRateLimit, LosesNoCountWhileThreadsRace) {
  LogRateLimit limit(1, milliseconds(1));
  std::atomic<int64_t> passed{0};
  std::atomic<int64_t> suppressed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 1000; ++n) {
        if (const auto before = limit.Pass(kStart + milliseconds(i + n))) {
          ++passed;
          suppressed += *before;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto last = limit.Pass(kStart + std::chrono::hours(1));
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(passed + suppressed + *last, 4000);
}

}  // namespace
}  // namespace kldiv::server
