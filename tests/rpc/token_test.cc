#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "server/rpc/caller.h"
#include "tests/rpc/service_fixture.h"

namespace kldiv::server {
namespace {

using testing::FakeCall;
using testing::FakeTransport;
using Code = absl::StatusCode;

constexpr int64_t kQueued = 5 * 1024;  // elements: more than the tiles that are computed at once
constexpr Method kAllButHealth[] = {Method::kEvaluate, Method::kEvaluateBatch, Method::kEvaluateStream,
                                    Method::kGetServerInfo, Method::kUnknown};

// A service that asks for tokens; alice's is "secret".
class TokenTest : public ServiceTest {
 protected:
  TokenTest() { options().tokens = &tokens_; }

  // The clients go.
  void TearDown() override {
    for (FakeCall* const call : calls_) call->Cancel();
    Poll();
  }

  FakeCall& CallWith(Method method, std::string authorization) {
    FakeTransport::CallOptions call;
    if (!authorization.empty()) call.headers.emplace("authorization", std::move(authorization));
    calls_.push_back(&transport().Call(method, std::move(call)));
    Poll();
    return *calls_.back();
  }
  FakeCall& OpenStreamOfAlice() { return CallWith(Method::kEvaluateStream, "Bearer secret"); }
  void Send(FakeCall& stream, int64_t elements) {
    stream.Send(PairOf(elements).SerializeAsString());
    Poll();
  }

  static void ExpectRefused(const FakeCall& call) {
    EXPECT_THAT(call.status(), HasStatus(Code::kUnauthenticated, "a valid token is needed"));
    EXPECT_EQ(call.reads(), 0);
  }

  void Take(const char* file) { tokens_.Set(*TokenSet::Parse(file)); }

  std::vector<FakeCall*> calls_;
  Replaceable<TokenSet> tokens_{*TokenSet::Parse("alice:secret\nbob:other")};
};

TEST_F(TokenTest, IsEnoughToBeServed) {
  Start();
  FakeCall& call = CallWith(Method::kEvaluate, "Bearer secret");
  Send(call, 10);
  EXPECT_TRUE(call.status().ok()) << call.status();
}

TEST_F(TokenTest, IsNeededByEveryCallButHealthBeforeAnythingIsRead) {
  Start();
  for (const Method method : kAllButHealth) {
    for (const char* header :
         {"", "Bearer", "Bearer secre", "Bearer secrets", "Bearer alice", "Basic secret"})
      ExpectRefused(CallWith(method, header));
  }
  EXPECT_EQ(counters().unauthenticated_calls, 30);
  EXPECT_EQ(counters().calls_started, 0);
  EXPECT_EQ(CallWith(Method::kHealthCheck, "").reads(), 1);
  EXPECT_EQ(CallWith(Method::kHealthWatch, "").reads(), 1);
}

TEST_F(TokenTest, IsAskedForBeforeADrainIsSpokenOf) {
  Start();
  service().SetPhase(ServicePhase::kRefusing);
  ExpectRefused(CallWith(Method::kEvaluate, ""));
  EXPECT_THAT(CallWith(Method::kEvaluate, "Bearer secret").status(),
              HasStatus(Code::kUnavailable, "draining"));
}

TEST_F(TokenTest, LetsNobodyInOnceItIsGone) {
  Start();
  Take("bob:other");
  ExpectRefused(CallWith(Method::kEvaluate, "Bearer secret"));
}

TEST_F(TokenTest, EndsIdleStreamsWhenItIsGone) {
  Start();
  FakeCall& alices = OpenStreamOfAlice();
  FakeCall& bobs = CallWith(Method::kEvaluateStream, "Bearer other");
  TickAfter(milliseconds(1000));
  EXPECT_FALSE(alices.ended());
  Take("bob:other\ncarol:new");
  TickAfter(milliseconds(2000));
  EXPECT_THAT(alices.status(), HasStatus(Code::kUnauthenticated, "a valid token is needed"));
  EXPECT_FALSE(bobs.ended());
  Send(bobs, 10);
  EXPECT_EQ(bobs.answers().size(), 1u);
}

TEST_F(TokenTest, MayChangeItsNameWhileAStreamIsOpen) {
  Start();
  FakeCall& stream = OpenStreamOfAlice();
  Take("eve:secret");
  TickAfter(milliseconds(1000));
  EXPECT_FALSE(stream.ended());
}

TEST_F(TokenTest, IsGoneOnlyAfterWhatWasAcceptedIsAnswered) {
  Start();
  lanes().Hold();
  FakeCall& stream = OpenStreamOfAlice();
  Send(stream, kQueued);
  Take("bob:other");
  TickAfter(milliseconds(1000));
  EXPECT_FALSE(stream.ended());
  lanes().Release();
  ASSERT_TRUE(PollUntil([&] { return stream.done(); }));
  EXPECT_EQ(stream.answers().size(), 1u);
  EXPECT_EQ(stream.status().code(), Code::kUnauthenticated);
}

TEST_F(TokenTest, IsNotWaitedForLongerByAStreamThatTakesNoAnswers) {
  Start();
  FakeCall& stream = OpenStreamOfAlice();
  stream.StallWrites(true);
  Send(stream, 10);
  Take("bob:other");
  TickAfter(milliseconds(1000));
  EXPECT_FALSE(stream.ended());
  TickAfter(milliseconds(1500));
  EXPECT_THAT(stream.status(), HasStatus(Code::kUnauthenticated, "a valid token is needed"));
  ASSERT_TRUE(PollUntil([&] { return stream.done(); }));
}

// With two grants a client may hold one: who reads at once is another client than who reads already.
class ClientTest : public TokenTest {
 protected:
  ClientTest() { options().read_grants = 2; }

  FakeCall& CallFrom(std::string peer, std::string token, std::string certificate = "") {
    FakeTransport::CallOptions call;
    call.peer = std::move(peer);
    call.certificate_name = std::move(certificate);
    if (!token.empty()) call.headers.emplace("authorization", "Bearer " + token);
    calls_.push_back(&transport().Call(Method::kEvaluate, std::move(call)));
    Poll();
    return *calls_.back();
  }
};

TEST_F(ClientTest, IsWhoseTokenItShowsWhereverItCallsFrom) {
  Start();
  EXPECT_TRUE(CallFrom("ipv4:10.0.0.1:5000", "secret").reading());
  EXPECT_FALSE(CallFrom("ipv4:10.0.0.2:5000", "secret", "another").reading());
  EXPECT_TRUE(CallFrom("ipv4:10.0.0.1:5000", "other").reading());
}

TEST_F(ClientTest, IsWhoseCertificateItShowsWhereThereAreNoTokens) {
  options().tokens = nullptr;
  Start();
  EXPECT_TRUE(CallFrom("ipv4:10.0.0.1:5000", "", "alice").reading());
  EXPECT_FALSE(CallFrom("ipv4:10.0.0.2:5000", "", "alice").reading());
  EXPECT_TRUE(CallFrom("ipv4:10.0.0.1:5000", "", "bob").reading());
}

TEST_F(ClientTest, IsItsAddressOtherwise) {
  options().tokens = nullptr;
  Start();
  EXPECT_TRUE(CallFrom("ipv6:%5B::1%5D:5000", "").reading());
  EXPECT_FALSE(CallFrom("ipv6:%5B::1%5D:5001", "").reading());
  EXPECT_TRUE(CallFrom("ipv6:%5B::2%5D:5000", "").reading());
}

TEST_F(ClientTest, IsAnotherOneByTokenThanByAnythingElse) {
  Start();
  FakeTransport::CallOptions options;
  options.certificate_name = "alice";
  calls_.push_back(&transport().Call(Method::kHealthCheck, std::move(options)));
  Poll();
  const TokenSet tokens = *TokenSet::Parse("alice:secret");
  EXPECT_EQ(ClientName(*calls_.back(), tokens.Find("secret")), "token:alice");
  EXPECT_EQ(ClientName(*calls_.back(), nullptr), "certificate:alice");
  EXPECT_EQ(PeerAddress("unix:"), "unix:");
}

}  // namespace
}  // namespace kldiv::server
