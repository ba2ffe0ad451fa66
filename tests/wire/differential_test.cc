#include <gtest/gtest.h>

#include <cstdio>

#include "absl/strings/escaping.h"
#include "proto/wire/decode.h"
#include "tests/wire/random_message.h"
#include "tests/wire/reference.h"
#include "tests/wire/wire_bytes.h"

// The decoder against the generated parser and the rules over it, on messages by chance. The numbers of cases
// are for about ten seconds with either build.
namespace kldiv::wire::testing {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr int kScale = 1;
#else
constexpr int kScale = 6;
#endif

std::string Printed(const std::string& bytes) { return absl::CHexEscape(bytes); }

// Half of what chance makes should be right, or the test looks at the way out only.
void ExpectBalanced(int accepted, int cases) {
  EXPECT_GT(accepted, cases / 4);
  EXPECT_LT(accepted, cases * 3 / 4);
}

TEST(Differential, EvaluateRequestIsReadAsTheGeneratedParserReadsIt) {
  RandomMessage random(1);
  constexpr int kCases = 100'000 * kScale;
  int valid = 0;
  for (int i = 0; i < kCases; ++i) {
    std::string bytes = random.Request();
    if (random.OneIn(4)) random.Damage(&bytes);
    const SlicedMessage message(bytes, random.Cuts(bytes.size()));
    const auto got = DecodeEvaluateRequest(message.slices());
    ASSERT_EQ(Difference(got, ExpectEvaluateRequest(bytes)), "") << Printed(bytes);
    valid += got.ok() && got->status.ok();
  }
  ExpectBalanced(valid, kCases);
}

TEST(Differential, EvaluateBatchRequestIsReadAsTheGeneratedParserReadsIt) {
  RandomMessage random(2);
  constexpr int kCases = 30'000 * kScale;
  int accepted = 0;
  for (int i = 0; i < kCases; ++i) {
    std::string bytes = random.Batch();
    if (random.OneIn(4)) random.Damage(&bytes);
    const SlicedMessage message(bytes, random.Cuts(bytes.size()));
    const int64_t max_pairs = random.OneIn(4) ? 4 : 100;
    const auto got = DecodeEvaluateBatchRequest(message.slices(), max_pairs);
    ASSERT_EQ(Difference(got, ExpectEvaluateBatchRequest(bytes, max_pairs)), "") << Printed(bytes);
    accepted += got.ok();
  }
  ExpectBalanced(accepted, kCases);
}

TEST(Differential, GetServerInfoRequestIsReadAsTheGeneratedParserReadsIt) {
  RandomMessage random(3);
  constexpr int kCases = 30'000 * kScale;
  int accepted = 0;
  for (int i = 0; i < kCases; ++i) {
    std::string bytes = random.Request();
    if (random.OneIn(2)) random.Damage(&bytes);
    const SlicedMessage message(bytes, random.Cuts(bytes.size()));
    const absl::Status got = DecodeGetServerInfoRequest(message.slices());
    ASSERT_EQ(got.ok(), ExpectGetServerInfoRequest(bytes)) << Printed(bytes);
    accepted += got.ok();
  }
  EXPECT_GT(accepted, kCases / 4);
  EXPECT_LT(accepted, kCases);
}

// Every byte on its own is the case in which each number and each tensor is cut everywhere.
TEST(Differential, MessagesInSlicesOfOneByteAreReadAlike) {
  RandomMessage random(4);
  for (int i = 0; i < 3'000 * kScale; ++i) {
    const std::string bytes = random.Batch();
    const SlicedMessage message(bytes, Sizes(1, bytes.size()));
    const auto got = DecodeEvaluateBatchRequest(message.slices(), 100);
    ASSERT_EQ(Difference(got, ExpectEvaluateBatchRequest(bytes, 100)), "") << Printed(bytes);
  }
}

}  // namespace
}  // namespace kldiv::wire::testing
