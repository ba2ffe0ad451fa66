#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/rpc/service_fixture.h"

namespace kldiv::server {
namespace {

using testing::FakeCall;
using Code = absl::StatusCode;

class ReadingTest : public ServiceTest {
 protected:
  static std::string Port(int address, int port) {
    return "ipv4:10.0.0." + std::to_string(address) + ":" + std::to_string(port);
  }
};

TEST_F(ReadingTest, ReadsNothingOfACallThatHasNoGrant) {
  options().read_grants = 1;
  Start();
  FakeCall& first = Call(Method::kEvaluate, Port(1, 1));
  FakeCall& second = Call(Method::kEvaluate, Port(2, 1));
  Poll();
  EXPECT_EQ(first.reads(), 1);
  EXPECT_EQ(second.reads(), 0);
  EXPECT_TRUE(second.watches_cancel());
  first.Send(PairOf(10).SerializeAsString());
  Poll();
  EXPECT_TRUE(first.status().ok());
  EXPECT_EQ(second.reads(), 1);
  second.Send(PairOf(10).SerializeAsString());
  Poll();
  EXPECT_TRUE(second.status().ok());
}

TEST_F(ReadingTest, ChargesParkedCalls) {
  options().read_grants = 1;
  Start();
  std::vector<FakeCall*> calls;
  for (int i = 0; i < 10; ++i) calls.push_back(&Call(Method::kEvaluate, Port(1, i)));
  Poll();
  EXPECT_EQ(admission().held_bytes(), 10 * (24 << 10));
  EXPECT_EQ(service().read_grants().parked, 9);
  for (FakeCall* call : calls) call->Cancel();
  Poll();
}

TEST_F(ReadingTest, EndsAMessageThatIsNotCompleteInTime) {
  Start();
  FakeCall& call = Call(Method::kEvaluate);
  Poll();
  TickAfter(milliseconds(900));
  EXPECT_FALSE(call.ended());
  TickAfter(milliseconds(1100));
  EXPECT_TRUE(call.done());
  EXPECT_THAT(call.status(), HasStatus(Code::kDeadlineExceeded, "--read_timeout (1000ms)"));
  EXPECT_EQ(counters().read_timeouts, 1);
}

TEST_F(ReadingTest, CountsTheTimeoutFromTheGrantNotFromTheHeaders) {
  options().read_grants = 1;
  Start();
  FakeCall& slow = Call(Method::kEvaluate, Port(1, 1));
  FakeCall& waits = Call(Method::kEvaluate, Port(2, 1));
  Poll();
  TickAfter(milliseconds(1100));
  EXPECT_TRUE(slow.done());
  EXPECT_TRUE(waits.reading());
  TickAfter(milliseconds(900));
  EXPECT_FALSE(waits.ended());
  waits.Send(PairOf(10).SerializeAsString());
  Poll();
  EXPECT_TRUE(waits.status().ok());
}

TEST_F(ReadingTest, EndsAParkedCallThatIsCancelled) {
  options().read_grants = 1;
  Start();
  FakeCall& holder = Call(Method::kEvaluate, Port(1, 1));
  FakeCall& parked = Call(Method::kEvaluate, Port(2, 1));
  Poll();
  parked.Cancel();
  Poll();
  EXPECT_TRUE(parked.done());
  EXPECT_EQ(parked.reads(), 0);
  EXPECT_EQ(counters().lost_messages, 1);
  EXPECT_EQ(counters().cancelled_pairs, 0);
  holder.Cancel();
  Poll();
}

TEST_F(ReadingTest, ServesAnotherAddressPastTwoHundredThatTrickle) {
  options().read_grants = 4;
  Start();
  std::vector<FakeCall*> slow;
  for (int i = 0; i < 200; ++i) slow.push_back(&Call(Method::kEvaluate, Port(1, i)));
  Poll();
  EXPECT_EQ(service().read_grants().held, 2);
  for (int i = 0; i < 50; ++i) {
    FakeCall& call = Evaluate(PairOf(1000), Port(2, 1));
    ASSERT_TRUE(call.done());
    EXPECT_TRUE(call.status().ok());
  }
  for (FakeCall* call : slow) call->Cancel();
  Poll();
}

TEST_F(ReadingTest, LetsSmallConnectionsPassThoseThatWereSlowOnce) {
  options().read_grants = 1;
  Start();
  FakeCall& slow = Call(Method::kEvaluate, Port(1, 1));
  Poll();
  FakeCall& other = Call(Method::kEvaluate, Port(2, 1));
  Poll();
  TickAfter(milliseconds(1100));
  ASSERT_TRUE(slow.done());
  ASSERT_TRUE(other.reading());
  FakeCall& again = Call(Method::kEvaluate, Port(1, 1));
  FakeCall& fresh = Call(Method::kEvaluate, Port(3, 1));
  Poll();
  other.Send(PairOf(10).SerializeAsString());
  Poll();
  EXPECT_TRUE(fresh.reading());
  EXPECT_FALSE(again.reading());
  fresh.Cancel();
  Poll();
  EXPECT_TRUE(again.reading());
  again.Cancel();
  Poll();
}

TEST_F(ReadingTest, KeepsAGrantWhileTheMessageIsNotYetCharged) {
  options().read_grants = 1;
  Start();
  FakeCall& large = Call(Method::kEvaluate, Port(1, 1));
  large.Send(PairOf(200'000).SerializeAsString());  // goes to the worker
  FakeCall& next = Call(Method::kEvaluate, Port(2, 1));
  ASSERT_TRUE(PollUntil([&] { return next.reading(); }));
  EXPECT_GE(counters().admitted_pairs, 1);
  ASSERT_TRUE(PollUntil([&] { return large.done(); }));
  next.Cancel();
  Poll();
}

TEST_F(ReadingTest, RefusesNewAndParkedCallsWhenTheServerDrains) {
  options().read_grants = 1;
  Start();
  FakeCall& reading = Call(Method::kEvaluate, Port(1, 1));
  FakeCall& parked = Call(Method::kEvaluate, Port(2, 1));
  Poll();
  service().SetPhase(ServicePhase::kLameDuck);
  FakeCall& late = Call(Method::kEvaluate, Port(3, 1));
  Poll();
  EXPECT_FALSE(late.ended());
  service().SetPhase(ServicePhase::kRefusing);
  FakeCall& refused = Call(Method::kEvaluate, Port(4, 1));
  FakeCall& info = Call(Method::kGetServerInfo, Port(4, 1));
  Poll();
  for (FakeCall* call : {&parked, &late, &refused, &info}) {
    EXPECT_TRUE(call->done());
    EXPECT_THAT(call->status(), HasStatus(Code::kUnavailable, "draining"));
    EXPECT_EQ(call->reads(), 0);
  }
  EXPECT_EQ(counters().refused_calls, 4);
  EXPECT_TRUE(service().Busy());
  reading.Send(PairOf(10).SerializeAsString());
  Poll();
  EXPECT_TRUE(reading.status().ok());
  EXPECT_FALSE(service().Busy());
}

TEST_F(ReadingTest, LetsNoClientFillTheBudgetWithCallsThatWait) {
  options().read_grants = 2;
  options().max_queue_bytes = 1 << 20;
  Start();
  std::vector<FakeCall*> calls;
  for (int i = 0; i < 100; ++i) calls.push_back(&Call(Method::kEvaluate, Port(1, i)));
  for (int i = 0; i < 3; ++i) calls.push_back(&Call(Method::kEvaluateStream, Port(1, i)));
  Poll();
  EXPECT_LE(admission().held_bytes(), (512 << 10) + (24 << 10));
  EXPECT_THAT(calls[99]->status(), HasStatus(Code::kResourceExhausted, "too many calls"));
  EXPECT_GE(calls[99]->retry_after(), milliseconds(50));
  EXPECT_THAT(calls[102]->status(), HasStatus(Code::kResourceExhausted, "too many calls"));
  EXPECT_TRUE(Evaluate(PairOf(1000), Port(2, 1)).status().ok());
  for (FakeCall* call : calls) call->Cancel();
  Poll();
}

TEST_F(ReadingTest, LetsNoFewClientsFillTheBudgetWithCallsThatWait) {
  options().max_queue_bytes = int64_t{200} * (24 << 10);  // room for 200 calls
  options().read_grants = 1;
  Start();
  std::vector<FakeCall*> calls;
  for (int client = 0; client < 4; ++client) {
    for (int i = 0; i < 150; ++i) {
      calls.push_back(
          &Call(Method::kEvaluate, "ipv4:10.0.0." + std::to_string(client) + ":" + std::to_string(i)));
      Poll();
    }
  }
  FakeCall& newcomer = Call(Method::kEvaluate, "ipv4:10.0.1.1:1");
  Poll();
  EXPECT_FALSE(newcomer.ended());
  newcomer.Cancel();
  for (FakeCall* call : calls) call->Cancel();
  Poll();
}

TEST_F(ReadingTest, SaysHowLongNoCallHasCome) {
  Start();
  FakeCall& call = Evaluate(PairOf(10));
  EXPECT_EQ(service().Quiet(call.started_at() + milliseconds(70)), milliseconds(70));
  Send(Method::kHealthCheck, "");
  EXPECT_EQ(service().Quiet(call.started_at() + milliseconds(70)), milliseconds(70));
}

}  // namespace
}  // namespace kldiv::server
