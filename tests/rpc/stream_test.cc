#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "tests/rpc/service_fixture.h"

namespace kldiv::server {
namespace {

using ::testing::ElementsAre;
using testing::FakeCall;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

constexpr int64_t kQueued = 5 * 1024;  // elements: more than the tiles that are computed at once

class StreamTest : public ServiceTest {
 protected:
  static std::vector<uint64_t> Ids(const FakeCall& stream) {
    std::vector<uint64_t> ids;
    for (const std::string& answer : stream.answers()) ids.push_back(ParseResult(answer).request_id());
    return ids;
  }
  void Send(FakeCall& stream, const v1::EvaluateRequest& request) {
    stream.Send(request.SerializeAsString());
    Poll();
  }
  void HalfClose(FakeCall& stream) {
    stream.HalfClose();
    Poll();
  }
};

TEST_F(StreamTest, AnswersEachPairAndEndsWellAfterTheHalfClose) {
  Start();
  FakeCall& stream = OpenStream();
  std::map<uint64_t, double> expected;
  for (uint64_t id = 1; id <= 20; ++id) {
    const v1::EvaluateRequest request = PairOf(id % 2 == 0 ? 100 : kQueued, id);
    expected[id] = PlainSum(request);
    Send(stream, request);
  }
  HalfClose(stream);
  ASSERT_TRUE(PollUntil([&] { return stream.done(); }));
  EXPECT_TRUE(stream.status().ok());
  ASSERT_EQ(stream.answers().size(), 20u);
  for (const std::string& answer : stream.answers()) {
    const v1::EvaluateResult result = ParseResult(answer);
    EXPECT_EQ(result.request_id(), result.response().request_id());
    EXPECT_NEAR(result.response().loss(), expected.at(result.request_id()), 1e-6);
    expected.erase(result.request_id());
  }
  EXPECT_TRUE(expected.empty());
}

TEST_F(StreamTest, AnswersInTheOrderInWhichPairsAreDone) {
  Start();
  lanes().Hold();
  FakeCall& stream = OpenStream();
  Send(stream, PairOf(kQueued, 1));
  Send(stream, PairOf(10, 2));
  EXPECT_THAT(Ids(stream), ElementsAre(2));
  lanes().Release();
  ASSERT_TRUE(PollUntil([&] { return stream.answers().size() == 2; }));
  EXPECT_THAT(Ids(stream), ElementsAre(2, 1));
  HalfClose(stream);
}

TEST_F(StreamTest, EndsAnEmptyStreamWell) {
  Start();
  FakeCall& stream = OpenStream();
  HalfClose(stream);
  EXPECT_TRUE(stream.status().ok());
}

TEST_F(StreamTest, AnswersAFaultyPairWithAnErrorAndGoesOn) {
  Start();
  FakeCall& stream = OpenStream();
  Send(stream, FaultyPair(7));
  Send(stream, PairOf(10, 8));
  HalfClose(stream);
  ASSERT_EQ(stream.answers().size(), 2u);
  const v1::EvaluateResult faulty = ParseResult(stream.answers()[0]);
  EXPECT_EQ(faulty.request_id(), 7u);
  EXPECT_EQ(faulty.error().code(), static_cast<int>(Code::kInvalidArgument));
  EXPECT_TRUE(ParseResult(stream.answers()[1]).has_response());
  EXPECT_TRUE(stream.status().ok());
}

TEST_F(StreamTest, EndsAtUndecodableBytesAfterTheAcceptedPairs) {
  Start();
  lanes().Hold();
  FakeCall& stream = OpenStream();
  Send(stream, PairOf(kQueued, 1));
  stream.Send("\xff\xff\xff");
  Poll();
  stream.Send(PairOf(10, 2).SerializeAsString());
  Poll();
  EXPECT_FALSE(stream.ended());
  lanes().Release();
  ASSERT_TRUE(PollUntil([&] { return stream.done(); }));
  EXPECT_THAT(Ids(stream), ElementsAre(1));
  EXPECT_EQ(stream.status().code(), Code::kInvalidArgument);
}

TEST_F(StreamTest, KeepsAPairsOwnDeadline) {
  Start();
  FakeCall& stream = OpenStream();
  v1::EvaluateRequest request = PairOf(kQueued, 1);
  request.set_timeout_ns(1);
  Send(stream, request);
  ASSERT_TRUE(PollUntil([&] { return stream.answers().size() == 1; }));
  const v1::EvaluateResult result = ParseResult(stream.answers()[0]);
  EXPECT_EQ(result.request_id(), 1u);
  EXPECT_EQ(result.error().code(), static_cast<int>(Code::kDeadlineExceeded));
  EXPECT_THAT(result.error().message(), HasSubstr("not computed"));
  HalfClose(stream);
  EXPECT_TRUE(stream.status().ok());
}

TEST_F(StreamTest, CountsTheTotalFromTheMessage) {
  Start();
  FakeCall& stream = OpenStream();
  v1::EvaluateRequest request = PairOf(10, 1);
  request.set_want_timing(true);
  Send(stream, request);
  ASSERT_EQ(stream.answers().size(), 1u);
  const v1::Timing timing = ParseResult(stream.answers()[0]).response().timing();
  EXPECT_GT(timing.total_ns(), 0);
  EXPECT_EQ(timing.batch_pairs(), 1);
  HalfClose(stream);
}

TEST_F(StreamTest, StopsReadingWhileTooManyAreInFlight) {
  options().max_in_flight_per_stream = 3;
  Start();
  lanes().Hold();
  FakeCall& stream = OpenStream();
  for (uint64_t id = 1; id <= 5; ++id) stream.Send(PairOf(kQueued, id).SerializeAsString());
  Poll();
  EXPECT_EQ(stream.reads(), 3);
  lanes().Release();
  ASSERT_TRUE(PollUntil([&] { return stream.answers().size() == 5; }));
  HalfClose(stream);
  EXPECT_TRUE(stream.status().ok());
}

TEST_F(StreamTest, CountsUnsentAnswersAsInFlight) {
  options().max_in_flight_per_stream = 2;
  Start();
  FakeCall& stream = OpenStream();
  stream.StallWrites(true);
  for (uint64_t id = 1; id <= 4; ++id) stream.Send(PairOf(10, id).SerializeAsString());
  Poll();
  EXPECT_EQ(stream.reads(), 2);
  EXPECT_EQ(counters().completed_pairs, 2);
  stream.StallWrites(false);
  Poll();
  EXPECT_THAT(Ids(stream), ElementsAre(1, 2, 3, 4));
  HalfClose(stream);
}

TEST_F(StreamTest, WaitsForRoomInsteadOfBeingShed) {
  options().max_queue_bytes = 1 << 20;
  Start();
  lanes().Hold();
  FakeCall& call = Evaluate(PairOf(65'000));
  ASSERT_TRUE(lanes().WaitUntilHeld());
  FakeCall& stream = OpenStream();
  Send(stream, PairOf(65'000, 1));  // read, and held for want of room, with its grant
  Send(stream, PairOf(65'000, 2));
  EXPECT_EQ(stream.reads(), 1);
  EXPECT_EQ(service().read_grants().held, 1);
  EXPECT_EQ(counters().admitted_pairs, 1);
  lanes().Release();
  ASSERT_TRUE(PollUntil([&] { return call.done() && stream.answers().size() == 2; }));
  HalfClose(stream);
  EXPECT_TRUE(stream.status().ok());
  EXPECT_EQ(counters().shed_calls, 0);
}

TEST_F(StreamTest, DoesNotReadWithoutRoomForWhatCameLast) {
  options().max_queue_bytes = 1 << 20;
  Start();
  lanes().Hold();
  FakeCall& stream = OpenStream();
  Send(stream, PairOf(65'000, 1));  // half of the budget, and its call
  EXPECT_EQ(counters().admitted_pairs, 1);
  EXPECT_EQ(stream.reads(), 1);
  EXPECT_EQ(service().read_grants().held, 0);
  lanes().Release();
  ASSERT_TRUE(PollUntil([&] { return stream.reading(); }));
  HalfClose(stream);
  EXPECT_TRUE(stream.status().ok());
}

TEST_F(StreamTest, AnswersWhatCanNeverFitWithAnError) {
  options().max_queue_bytes = 1 << 20;
  Start();
  FakeCall& stream = OpenStream();
  Send(stream, PairOf(150'000, 1));
  ASSERT_TRUE(PollUntil([&] { return stream.answers().size() == 1; }));
  EXPECT_EQ(ParseResult(stream.answers()[0]).error().code(), static_cast<int>(Code::kInvalidArgument));
  HalfClose(stream);
  EXPECT_TRUE(stream.status().ok());
}

TEST_F(StreamTest, DropsWhatWaitsForRoomWhenItIsCancelled) {
  options().max_queue_bytes = 1 << 20;
  Start();
  lanes().Hold();
  FakeCall& call = Evaluate(PairOf(65'000));
  ASSERT_TRUE(lanes().WaitUntilHeld());
  FakeCall& stream = OpenStream();
  Send(stream, PairOf(65'000, 1));
  stream.Cancel();
  Poll();
  EXPECT_TRUE(stream.done());
  EXPECT_EQ(service().read_grants().held, 0);
  lanes().Release();
  ASSERT_TRUE(PollUntil([&] { return call.done(); }));
}

TEST_F(StreamTest, DoesNotComputeWhatWaitsWhenItIsCancelled) {
  Start();
  lanes().Hold();
  FakeCall& ahead = Evaluate(PairOf(kQueued));
  ASSERT_TRUE(lanes().WaitUntilHeld());
  FakeCall& stream = OpenStream();
  for (uint64_t id = 1; id <= 3; ++id) Send(stream, PairOf(kQueued, id));
  stream.Cancel();
  Poll();
  EXPECT_FALSE(stream.done());
  lanes().Release();
  ASSERT_TRUE(PollUntil([&] { return stream.done() && ahead.done(); }));
  EXPECT_EQ(counters().cancelled_pairs, 3);
  EXPECT_EQ(lanes().batches().size(), 1u);
}

TEST_F(StreamTest, EndsWhenItsPeerDiesWithAnswersUnsent) {
  Start();
  FakeCall& stream = OpenStream();
  stream.StallWrites(true);
  for (uint64_t id = 1; id <= 5; ++id) Send(stream, PairOf(10, id));
  EXPECT_GT(admission().held_bytes(), 24 << 10);
  stream.Cancel();
  Poll();
  EXPECT_TRUE(stream.done());
  EXPECT_EQ(admission().held_bytes(), 0);
}

TEST_F(StreamTest, DecodesALargeMessageOffThePollingThread) {
  Start();
  FakeCall& stream = OpenStream();
  const v1::EvaluateRequest request = PairOf(200'000, 5);
  Send(stream, request);
  HalfClose(stream);
  ASSERT_TRUE(PollUntil([&] { return stream.done(); }));
  EXPECT_THAT(Ids(stream), ElementsAre(5));
  EXPECT_TRUE(stream.status().ok());
}

TEST_F(StreamTest, StaysOpenWhileItIsIdleAndNobodyWaits) {
  options().read_grants = 1;
  Start();
  FakeCall& stream = OpenStream();
  TickAfter(milliseconds(60'000));
  EXPECT_FALSE(stream.ended());
  Send(stream, PairOf(10, 1));
  EXPECT_EQ(stream.answers().size(), 1u);
  HalfClose(stream);
}

TEST_F(StreamTest, GivesWayWhenItIsIdleAndOthersWait) {
  options().read_grants = 1;
  Start();
  lanes().Hold();
  FakeCall& stream = OpenStream();
  Send(stream, PairOf(kQueued, 1));
  ASSERT_TRUE(stream.reading());
  FakeCall& call = Evaluate(PairOf(10));
  EXPECT_FALSE(call.ended());
  TickAfter(milliseconds(900));
  EXPECT_FALSE(stream.ended());
  TickAfter(milliseconds(1100));
  EXPECT_FALSE(stream.ended());  // its accepted pair is answered first
  lanes().Release();
  ASSERT_TRUE(PollUntil([&] { return stream.done(); }));
  EXPECT_THAT(stream.status(), HasStatus(Code::kUnavailable, "idle"));
  EXPECT_THAT(Ids(stream), ElementsAre(1));
  EXPECT_TRUE(call.status().ok());
  EXPECT_EQ(counters().idle_streams, 1);
}

TEST_F(StreamTest, AnswersWhatItAcceptedWhenTheServerDrains) {
  Start();
  lanes().Hold();
  FakeCall& stream = OpenStream();
  FakeCall& idle = OpenStream();
  Send(stream, PairOf(kQueued, 1));
  service().SetPhase(ServicePhase::kLameDuck);
  Send(stream, PairOf(kQueued, 2));
  service().SetPhase(ServicePhase::kRefusing);
  Poll();
  EXPECT_THAT(idle.status(), HasStatus(Code::kUnavailable, "draining"));
  EXPECT_TRUE(idle.done());
  EXPECT_FALSE(stream.ended());
  EXPECT_TRUE(service().Busy());
  lanes().Release();
  ASSERT_TRUE(PollUntil([&] { return stream.done(); }));
  EXPECT_THAT(Ids(stream), ::testing::UnorderedElementsAre(1, 2));
  EXPECT_THAT(stream.status(), HasStatus(Code::kUnavailable, "draining"));
  EXPECT_FALSE(service().Busy());
}

class IdleStreams : public StreamTest, public ::testing::WithParamInterface<int> {};

TEST_P(IdleStreams, DoNotKeepTheirClientsCallsFromBeingServed) {
  options().read_grants = GetParam();
  Start();
  std::vector<FakeCall*> streams;
  for (int i = 0; i < 12; ++i) streams.push_back(&OpenStream("ipv4:10.0.0.1:" + std::to_string(i)));
  FakeCall& call = Evaluate(PairOf(1000), "ipv4:10.0.0.1:99");
  EXPECT_EQ(call.done(), GetParam() >= 4);  // where there is a share of more than one, at once
  TickAfter(milliseconds(1100));            // else after --read_timeout and a tick
  EXPECT_TRUE(call.done());
  EXPECT_TRUE(call.status().ok());
  for (FakeCall* stream : streams) stream->Cancel();
  Poll();
}

INSTANTIATE_TEST_SUITE_P(OfFewGrantsAndMany, IdleStreams, ::testing::Values(1, 2, 3, 4, 16, 100));

}  // namespace
}  // namespace kldiv::server
