#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "proto/wire/decode.h"
#include "tests/wire/random_message.h"
#include "tests/wire/reference.h"
#include "tests/wire/wire_bytes.h"

// The decoder against the generated parser and the rules over it, on messages by chance: each as it was made,
// and damaged in several ways. The numbers of messages are for about ten seconds with either build.
namespace kldiv::wire::testing {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr int kScale = 1;
#else
constexpr int kScale = 10;
#endif
constexpr int kDamaged = 4;  // variants of each message

// Calls `check(bytes)`, which gives true for a message that was accepted, for `messages` made by `make` and
// their variants. A good part of them should be accepted, or the test looks at the way out only.
template <typename Make, typename Check>
void ForMessages(int messages, RandomMessage& random, Make make, Check check) {
  int accepted = 0;
  for (int i = 0; i < messages; ++i) {
    const std::string made = make();
    accepted += check(made);
    for (int variant = 0; variant < kDamaged; ++variant) {
      std::string bytes = made;
      random.Damage(&bytes);
      accepted += check(bytes);
      if (::testing::Test::HasFailure()) return;
    }
  }
  const int cases = messages * (1 + kDamaged);
  EXPECT_GT(accepted, cases / 5);
  EXPECT_LT(accepted, cases * 4 / 5);
}

TEST(Differential, EvaluateRequestIsReadAsTheGeneratedParserReadsIt) {
  RandomMessage random(1);
  const auto check = [&](const std::string& bytes) {
    const SlicedMessage message(bytes, random.Cuts(bytes.size()));
    const auto got = DecodeEvaluateRequest(message.slices());
    EXPECT_EQ(Difference(got, ExpectEvaluateRequest(bytes)), "") << absl::CHexEscape(bytes);
    return got.ok() && got->status.ok();
  };
  ForMessages(
      20'000 * kScale, random, [&] { return random.Request(); }, check);
}

TEST(Differential, EvaluateBatchRequestIsReadAsTheGeneratedParserReadsIt) {
  RandomMessage random(2);
  const auto check = [&](const std::string& bytes) {
    const SlicedMessage message(bytes, random.Cuts(bytes.size()));
    const int64_t max_pairs = random.OneIn(4) ? 4 : 100;
    const auto got = DecodeEvaluateBatchRequest(message.slices(), max_pairs);
    EXPECT_EQ(Difference(got, ExpectEvaluateBatchRequest(bytes, max_pairs)), "") << absl::CHexEscape(bytes);
    return got.ok();
  };
  ForMessages(
      5'000 * kScale, random, [&] { return random.Batch(); }, check);
}

TEST(Differential, GetServerInfoRequestIsReadAsTheGeneratedParserReadsIt) {
  RandomMessage random(3);
  const auto check = [&](const std::string& bytes) {
    const SlicedMessage message(bytes, random.Cuts(bytes.size()));
    const bool accepted = DecodeGetServerInfoRequest(message.slices()).ok();
    EXPECT_EQ(accepted, ExpectGetServerInfoRequest(bytes)) << absl::CHexEscape(bytes);
    return accepted;
  };
  ForMessages(
      5'000 * kScale, random, [&] { return random.Request(); }, check);
}

// Every byte on its own is the case in which each number and each tensor is cut everywhere.
TEST(Differential, MessagesInSlicesOfOneByteAreReadAlike) {
  RandomMessage random(4);
  for (int i = 0; i < 1'000 * kScale; ++i) {
    const std::string bytes = random.Batch();
    const SlicedMessage message(bytes, Sizes(1, bytes.size()));
    const auto got = DecodeEvaluateBatchRequest(message.slices(), 100);
    ASSERT_EQ(Difference(got, ExpectEvaluateBatchRequest(bytes, 100)), "") << absl::CHexEscape(bytes);
  }
}

}  // namespace
}  // namespace kldiv::wire::testing
