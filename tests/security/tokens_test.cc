#include "server/security/tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace kldiv::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Of "abc", as FIPS 180-2 gives it.
constexpr char kDigestOfAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kDigestOfNothing[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TokenSet SetOf(std::string_view text) {
  absl::StatusOr<TokenSet> tokens = TokenSet::Parse(text);
  EXPECT_TRUE(tokens.ok()) << tokens.status();
  return tokens.ok() ? *std::move(tokens) : TokenSet();
}

std::string NameOf(const TokenSet& tokens, std::string_view token) {
  const Token* const found = tokens.Find(token);
  return found == nullptr ? "nobody" : found->name;
}

TEST(Tokens, LetInWhoShowsOneOfThemPlainOrHashed) {
  const TokenSet tokens = SetOf(std::string("alice:secret\nbob:sha256:") + kDigestOfAbc + "\n");
  EXPECT_EQ(NameOf(tokens, "secret"), "alice");
  EXPECT_EQ(NameOf(tokens, "abc"), "bob");
}

TEST(Tokens, TakeTheWordForHashedInCapitalsToo) {
  EXPECT_EQ(NameOf(SetOf(std::string("bob:SHA256:") + kDigestOfAbc), "abc"), "bob");
  EXPECT_FALSE(TokenSet::Parse("bob:SHA256:ab\n").ok());
}

TEST(Tokens, LetNobodyElseIn) {
  const TokenSet tokens = SetOf(std::string("alice:secret\nbob:sha256:") + kDigestOfAbc + "\n");
  const std::string long_one(5000, 'a');
  for (const std::string& token :
       {std::string(), std::string("secre"), std::string("secrets"), std::string("Secret"), std::string("ab"),
        std::string("alice"), std::string("alice:secret"), std::string(kDigestOfAbc),
        std::string("sha256:") + kDigestOfAbc, long_one, std::string("secret\0", 7)})
    EXPECT_EQ(NameOf(tokens, token), "nobody") << token;
}

TEST(Tokens, LetNobodyInForNothingEvenIfItsDigestIsListed) {
  const TokenSet tokens = SetOf(std::string("alice:sha256:") + kDigestOfNothing);
  EXPECT_EQ(NameOf(tokens, ""), "nobody");
}

TEST(Tokens, MayBeSeveralOfOneNameAmongCommentsAndSpace) {
  const TokenSet tokens = SetOf("# of March\r\n\n  alice:new  \r\nalice:a:b\nb-o.b_2:sha256\n");
  EXPECT_EQ(tokens.size(), 3u);
  EXPECT_EQ(NameOf(tokens, "new"), "alice");
  EXPECT_EQ(NameOf(tokens, "a:b"), "alice");
  EXPECT_EQ(NameOf(tokens, "sha256"), "b-o.b_2");
}

TEST(Tokens, AreTheSameInAnotherSetWhateverTheirNames) {
  const TokenSet before = SetOf("alice:secret\nbob:abc");
  const TokenSet after = SetOf(std::string("carol:sha256:") + kDigestOfAbc);
  EXPECT_FALSE(after.Has(*before.Find("secret")));
  EXPECT_TRUE(after.Has(*before.Find("abc")));
}

TEST(Tokens, KeepTheirSetForWhoHasFoundThem) {
  std::shared_ptr<const Token> token =
      FindToken(std::make_shared<const TokenSet>(SetOf("alice:secret")), "secret");
  ASSERT_NE(token, nullptr);
  EXPECT_EQ(token->name, "alice");
  EXPECT_EQ(FindToken(std::make_shared<const TokenSet>(SetOf("alice:secret")), "secre"), nullptr);
}

TEST(Tokens, AreRefusedByLineAndReasonWithoutBeingShown) {
  const std::pair<std::string, const char*> table[] = {
      {"", "no token in it"},
      {"# nothing\n\n", "no token in it"},
      {"hunter2", "line 1: expected NAME:TOKEN"},
      {"a:b\n\nhunter2", "line 3: expected NAME:TOKEN"},
      {":hunter2", "the name must be"},
      {"al ice:hunter2", "the name must be"},
      {std::string(65, 'a') + ":hunter2", "the name must be"},
      {"alice:", "1 to 1024 visible"},
      {"alice:hunter2 hunter2", "1 to 1024 visible"},
      {"alice:hunter2\xc3\xa4", "1 to 1024 visible"},
      {"alice:" + std::string(1025, 'x'), "1 to 1024 visible"},
      {"alice:sha256:hunter2", "64 hexadecimal digits"},
      {std::string("alice:sha256:") + kDigestOfAbc + "0", "64 hexadecimal digits"},
      {"alice:hunter2\nbob:hunter2", "line 2: this token is in the file twice"},
      {std::string("alice:abc\nbob:sha256:") + kDigestOfAbc, "in the file twice"},
  };
  for (const auto& [text, reason] : table) {
    const absl::Status status = TokenSet::Parse(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(reason), Not(HasSubstr("hunter2")))) << text;
  }
}

TEST(Tokens, AreAtMostAThousand) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "a:" + std::to_string(i) + "\n";
  EXPECT_EQ(NameOf(SetOf(text), "999"), "a");
  EXPECT_THAT(std::string(TokenSet::Parse(text + "a:1000").status().message()), HasSubstr("more than 1000"));
}

TEST(BearerToken, IsWhatFollowsTheScheme) {
  EXPECT_EQ(BearerToken("Bearer secret"), "secret");
  EXPECT_EQ(BearerToken("bearer secret"), "secret");
  EXPECT_EQ(BearerToken("BEARER  secret "), "secret");
}

TEST(BearerToken, IsEmptyWithoutIt) {
  for (const char* header :
       {"", "Bearer", "Bearer ", "secret", "Basic secret", "Bearersecret", " Bearer secret"})
    EXPECT_EQ(BearerToken(header), "") << header;
}

}  // namespace
}  // namespace kldiv::server
