#include "server/memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

namespace kldiv::server {
namespace {

constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kIdle = 30 * kMiB;

TEST(MemoryTrimmer, LeavesAnIdleServerAlone) {
  MemoryTrimmer trimmer(kIdle);
  EXPECT_FALSE(trimmer.ShouldTrim({.resident_bytes = kIdle}));
  EXPECT_FALSE(trimmer.ShouldTrim({.resident_bytes = kIdle + 4 * kMiB}));
}

TEST(MemoryTrimmer, TrimsAfterABurstThreeTimes) {
  MemoryTrimmer trimmer(kIdle);
  EXPECT_TRUE(trimmer.ShouldTrim({.resident_bytes = kIdle + 100 * kMiB}));
  trimmer.Trimmed(kIdle + 3 * kMiB);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(trimmer.ShouldTrim({.resident_bytes = kIdle + 3 * kMiB}));
    trimmer.Trimmed(kIdle);
  }
  EXPECT_FALSE(trimmer.ShouldTrim({.resident_bytes = kIdle}));
}

TEST(MemoryTrimmer, WaitsForTheEndOfTheBurst) {
  MemoryTrimmer trimmer(kIdle);
  const int64_t resident = kIdle + 100 * kMiB;
  EXPECT_FALSE(trimmer.ShouldTrim({.resident_bytes = resident, .received_bytes = 50 * kMiB}));
  EXPECT_FALSE(
      trimmer.ShouldTrim({.resident_bytes = resident, .received_bytes = 50 * kMiB, .held_bytes = 1}));
  EXPECT_FALSE(trimmer.ShouldTrim({.resident_bytes = resident, .received_bytes = 51 * kMiB}));
  EXPECT_TRUE(trimmer.ShouldTrim({.resident_bytes = resident, .received_bytes = 51 * kMiB}));
}

TEST(MemoryTrimmer, TakesATrickleOfSmallMessagesForQuiet) {
  MemoryTrimmer trimmer(kIdle);
  EXPECT_TRUE(trimmer.ShouldTrim({.resident_bytes = kIdle + 100 * kMiB, .received_bytes = kMiB - 1}));
  trimmer.Trimmed(kIdle);
  EXPECT_TRUE(trimmer.ShouldTrim({.resident_bytes = kIdle, .received_bytes = 2 * (kMiB - 1)}));
}

TEST(MemoryTrimmer, TrimsForMessagesThatNobodyCounted) {
  MemoryTrimmer trimmer(kIdle);
  EXPECT_TRUE(trimmer.ShouldTrim({.resident_bytes = kIdle + 5 * kMiB, .received_bytes = 0}));
}

TEST(MemoryTrimmer, MeasuresTheNextBurstFromWhatTheLastTrimLeft) {
  MemoryTrimmer trimmer(kIdle);
  const int64_t left = kIdle + 20 * kMiB;  // The idle server has grown for good.
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(trimmer.ShouldTrim({.resident_bytes = i == 0 ? left + 100 * kMiB : left}));
    trimmer.Trimmed(left);
  }
  EXPECT_FALSE(trimmer.ShouldTrim({.resident_bytes = left + 4 * kMiB}));
  EXPECT_TRUE(trimmer.ShouldTrim({.resident_bytes = left + 5 * kMiB}));
}

TEST(MemoryTrimmer, TrimsLaterWhatWasInUseAfterTheBurst) {
  MemoryTrimmer trimmer(kIdle);
  const int64_t in_use = kIdle + 20 * kMiB;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(trimmer.ShouldTrim({.resident_bytes = in_use}));
    trimmer.Trimmed(in_use);
  }
  for (int i = 0; i < 2; ++i) {
    for (int second = 1; second < 16; ++second) EXPECT_FALSE(trimmer.ShouldTrim({.resident_bytes = in_use}));
    EXPECT_TRUE(trimmer.ShouldTrim({.resident_bytes = in_use}));
    trimmer.Trimmed(in_use);
  }
}

TEST(MemoryTrimmer, LeavesAServerAloneThatIsNoLargerThanWhenIdle) {
  MemoryTrimmer trimmer(kIdle);
  for (int second = 0; second < 40; ++second) {
    EXPECT_FALSE(trimmer.ShouldTrim({.resident_bytes = kIdle + 4 * kMiB}));
  }
}

TEST(ResidentBytes, GrowWithWhatIsTouched) {
  const int64_t before = ResidentBytes();
  EXPECT_GT(before, 0);
  const auto block = std::make_unique<char[]>(64 * kMiB);
  std::memset(block.get(), 1, 64 * kMiB);
  EXPECT_GT(ResidentBytes(), before + 32 * kMiB);
}

}  // namespace
}  // namespace kldiv::server
