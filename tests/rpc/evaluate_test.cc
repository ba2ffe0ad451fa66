#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tests/rpc/service_fixture.h"

namespace kldiv::server {
namespace {

using ::testing::AllOf;
using testing::FakeCall;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

constexpr int64_t kQueued = 5 * 1024;  // elements: more than the tiles that are computed at once

class EvaluateTest : public ServiceTest {};

TEST_F(EvaluateTest, AnswersASmallPairWithoutALane) {
  Start();
  lanes().Hold();
  const v1::EvaluateRequest request = PairOf(1000, 42);
  const v1::EvaluateResponse response = ParseResponse(Evaluate(request));
  EXPECT_EQ(response.request_id(), 42u);
  EXPECT_EQ(response.element_count(), 1000);
  EXPECT_NEAR(response.loss(), PlainSum(request), 1e-9 * std::fabs(PlainSum(request)));
  EXPECT_FALSE(response.has_pointwise());
  EXPECT_FALSE(response.has_timing());
}

TEST_F(EvaluateTest, AnswersALargerPairByALane) {
  Start();
  const v1::EvaluateRequest request = PairOf(kQueued, 43);
  FakeCall& call = Evaluate(request);
  ASSERT_TRUE(PollUntil([&] { return call.done(); }));
  EXPECT_NEAR(ParseResponse(call).loss(), PlainSum(request), 1e-9 * std::fabs(PlainSum(request)));
  EXPECT_EQ(lanes().batches().size(), 1u);
}

TEST_F(EvaluateTest, GivesTheSameBitsInlineAndByALane) {
  options().inline_tiles = 0;
  Start();
  const v1::EvaluateRequest request = PairOf(3000);
  FakeCall& call = Evaluate(request);
  ASSERT_TRUE(PollUntil([&] { return call.done(); }));
  EXPECT_EQ(lanes().batches().size(), 1u);
  const double loss = ParseResponse(call).loss();

  ServiceOptions inline_options = options();
  inline_options.inline_tiles = 4;
  Batcher batcher;
  {
    const auto inline_service = EvaluationService::Create(inline_options, admission(), batcher);
    testing::FakeTransport inline_transport(*inline_service);
    FakeCall& inline_call = inline_transport.Call(Method::kEvaluate);
    inline_call.Send(request.SerializeAsString());
    inline_transport.Poll();
    EXPECT_EQ(ParseResponse(inline_call).loss(), loss);
  }
  batcher.Close();
}

TEST_F(EvaluateTest, ReadsMessagesCutAnywhere) {
  Start();
  const v1::EvaluateRequest request = PairOf(100);
  std::vector<double> losses;
  for (const size_t slice : {size_t{1}, size_t{3}, size_t{64}, size_t{100'000}}) {
    FakeCall& call = Call(Method::kEvaluate);
    call.Send(request.SerializeAsString(), slice);
    Poll();
    losses.push_back(ParseResponse(call).loss());
  }
  EXPECT_THAT(losses, ::testing::Each(losses[0]));
}

TEST_F(EvaluateTest, DividesAsTheReductionSays) {
  Start();
  v1::EvaluateRequest request = PairOf(12);
  for (v1::Tensor* tensor : {request.mutable_input(), request.mutable_target()}) {
    tensor->clear_shape();
    tensor->add_shape(3);
    tensor->add_shape(4);
  }
  const double sum = ParseResponse(Evaluate(request)).loss();
  request.set_reduction(v1::REDUCTION_MEAN);
  EXPECT_EQ(ParseResponse(Evaluate(request)).loss(), sum / 12);
  request.set_reduction(v1::REDUCTION_UNSPECIFIED);
  EXPECT_EQ(ParseResponse(Evaluate(request)).loss(), sum / 12);
  request.set_reduction(v1::REDUCTION_BATCHMEAN);
  EXPECT_EQ(ParseResponse(Evaluate(request)).loss(), sum / 3);
}

TEST_F(EvaluateTest, DoesNotDivideTheBatchmeanOfAScalar) {
  Start();
  v1::EvaluateRequest request = PairOf(1);
  request.mutable_input()->clear_shape();
  request.mutable_target()->clear_shape();
  const double sum = ParseResponse(Evaluate(request)).loss();
  request.set_reduction(v1::REDUCTION_BATCHMEAN);
  EXPECT_EQ(ParseResponse(Evaluate(request)).loss(), sum);
}

class EmptyTensors : public ServiceTest, public ::testing::WithParamInterface<int> {};

TEST_P(EmptyTensors, AreAnsweredAsPyTorchDoes) {
  options().inline_tiles = GetParam();
  Start();
  const auto evaluate = [&](v1::Reduction reduction) {
    v1::EvaluateRequest request = PairOf(0);
    request.set_reduction(reduction);
    FakeCall& call = Evaluate(request);
    EXPECT_TRUE(PollUntil([&] { return call.done(); }));
    return ParseResponse(call);
  };
  EXPECT_EQ(std::bit_cast<uint64_t>(evaluate(v1::REDUCTION_MEAN).loss()), 0x7ff8000000000000u);
  EXPECT_EQ(std::bit_cast<uint64_t>(evaluate(v1::REDUCTION_BATCHMEAN).loss()), 0x7ff8000000000000u);
  EXPECT_EQ(std::bit_cast<uint64_t>(evaluate(v1::REDUCTION_SUM).loss()), 0u);
  const v1::EvaluateResponse none = evaluate(v1::REDUCTION_NONE);
  EXPECT_FALSE(none.has_loss());
  EXPECT_EQ(none.pointwise().data(), "");
  EXPECT_EQ(none.pointwise().shape(0), 0);
}

INSTANTIATE_TEST_SUITE_P(InlineAndByALane, EmptyTensors, ::testing::Values(4, 0));

TEST_F(EvaluateTest, AnswersNoneWithEveryElement) {
  Start();
  for (const int64_t elements : {int64_t{10}, kQueued}) {
    v1::EvaluateRequest request = PairOf(elements);
    request.set_reduction(v1::REDUCTION_NONE);
    FakeCall& call = Evaluate(request);
    ASSERT_TRUE(PollUntil([&] { return call.done(); }));
    const v1::EvaluateResponse response = ParseResponse(call);
    EXPECT_FALSE(response.has_loss());
    EXPECT_EQ(response.pointwise().dtype(), v1::DATA_TYPE_FP32);
    ASSERT_EQ(response.pointwise().shape_size(), 1);
    EXPECT_EQ(response.pointwise().shape(0), elements);
    ASSERT_EQ(response.pointwise().data().size(), static_cast<size_t>(elements) * sizeof(float));
    double sum = 0;
    for (int64_t i = 0; i < elements; ++i) {
      float value = 0;
      std::memcpy(&value, response.pointwise().data().data() + i * 4, sizeof(value));
      sum += value;
    }
    EXPECT_NEAR(sum, PlainSum(request), 1e-6 * std::fabs(PlainSum(request)));
  }
}

TEST_F(EvaluateTest, FillsTheTimingThatIsAskedFor) {
  Start();
  for (const int64_t elements : {int64_t{10}, kQueued}) {
    v1::EvaluateRequest request = PairOf(elements);
    request.set_want_timing(true);
    FakeCall& call = Evaluate(request);
    ASSERT_TRUE(PollUntil([&] { return call.done(); }));
    const v1::Timing timing = ParseResponse(call).timing();
    EXPECT_GE(timing.queue_ns(), 0);
    EXPECT_GT(timing.compute_ns(), 0);
    EXPECT_GE(timing.total_ns(), timing.queue_ns() + timing.compute_ns());
    EXPECT_EQ(timing.batch_pairs(), 1);
  }
}

TEST_F(EvaluateTest, RefusesAFaultyPairByItsStatus) {
  Start();
  FakeCall& call = Evaluate(FaultyPair());
  EXPECT_THAT(call.status(), HasStatus(Code::kInvalidArgument, "shape"));
  EXPECT_TRUE(call.answers().empty());
  EXPECT_EQ(counters().invalid_pairs, 1);
}

TEST_F(EvaluateTest, RefusesBytesThatCannotBeDecoded) {
  Start();
  FakeCall& call = Send(Method::kEvaluate, "\xff\xff\xff");
  EXPECT_EQ(call.status().code(), Code::kInvalidArgument);
}

TEST_F(EvaluateTest, RefusesACallThatEndsWithoutAMessage) {
  Start();
  FakeCall& call = Call(Method::kEvaluate);
  call.HalfClose();
  Poll();
  EXPECT_THAT(call.status(), HasStatus(Code::kInvalidArgument, "without a complete message"));
}

TEST_F(EvaluateTest, EndsACallWhosePeerDiesBeforeItsMessageIsComplete) {
  Start();
  FakeCall& call = Call(Method::kEvaluate);
  Poll();
  EXPECT_TRUE(call.reading());
  call.Cancel();
  Poll();
  EXPECT_TRUE(call.done());
  EXPECT_EQ(counters().lost_messages, 1);
}

TEST_F(EvaluateTest, RefusesUnknownMethods) {
  Start();
  FakeCall& call = Call(Method::kUnknown);
  Poll();
  EXPECT_THAT(call.status(), HasStatus(Code::kUnimplemented, "/kldiv.v1.KlDivergence/Guess"));
  EXPECT_EQ(call.reads(), 0);
}

TEST_F(EvaluateTest, DoesNotComputeWhatIsLate) {
  Start();
  FakeCall& call = Call(Method::kEvaluate, "unix:", std::chrono::steady_clock::now());
  call.Send(PairOf(10).SerializeAsString());
  Poll();
  EXPECT_THAT(call.status(), HasStatus(Code::kDeadlineExceeded, "not computed"));
  EXPECT_EQ(counters().expired_pairs, 1);
}

TEST_F(EvaluateTest, DoesNotComputeWhatBecameLateInTheQueue) {
  Start();
  FakeCall& call = Call(Method::kEvaluate, "unix:", std::chrono::steady_clock::now());
  call.Send(PairOf(kQueued).SerializeAsString());
  Poll();
  ASSERT_TRUE(PollUntil([&] { return call.done(); }));
  EXPECT_THAT(call.status(), HasStatus(Code::kDeadlineExceeded, "not computed"));
}

TEST_F(EvaluateTest, TakesNoNoticeOfAPairsOwnTimeoutInAUnaryCall) {
  Start();
  v1::EvaluateRequest request = PairOf(10);
  request.set_timeout_ns(1);
  EXPECT_TRUE(Evaluate(request).status().ok());
}

TEST_F(EvaluateTest, DoesNotComputeWhatWasCancelledInTheQueue) {
  Start();
  lanes().Hold();
  FakeCall& ahead = Evaluate(PairOf(kQueued));
  ASSERT_TRUE(lanes().WaitUntilHeld());
  FakeCall& call = Evaluate(PairOf(kQueued));
  EXPECT_TRUE(call.watches_cancel());
  call.Cancel();
  Poll();
  lanes().Release();
  ASSERT_TRUE(PollUntil([&] { return call.done() && ahead.done(); }));
  EXPECT_EQ(counters().cancelled_pairs, 1);
  EXPECT_TRUE(ahead.status().ok());
  EXPECT_EQ(lanes().batches().size(), 1u);
}

TEST_F(EvaluateTest, AsksForNoCancelAndNoNameOnTheShortWay) {
  Start();
  FakeCall& call = Evaluate(PairOf(1000));
  EXPECT_FALSE(call.watches_cancel());
  EXPECT_EQ(call.peer_calls(), 0);
}

TEST_F(EvaluateTest, HoldsItsChargesUntilTheAnswerHasBeenSent) {
  Start();
  FakeCall& call = Call(Method::kEvaluate);
  call.StallWrites(true);
  Poll();
  EXPECT_EQ(admission().held_bytes(), 24 << 10);
  const std::string message = PairOf(1000).SerializeAsString();
  call.Send(message);
  Poll();
  EXPECT_EQ(admission().held_bytes(), (24 << 10) + static_cast<int64_t>(message.size()) + kPairBytes);
  EXPECT_EQ(counters().completed_pairs, 1);
  call.StallWrites(false);
  Poll();
  EXPECT_EQ(admission().held_bytes(), 0);
}

TEST_F(EvaluateTest, ChargesTheAnswerToNone) {
  Start();
  FakeCall& call = Call(Method::kEvaluate);
  call.StallWrites(true);
  v1::EvaluateRequest request = PairOf(2048);
  request.set_reduction(v1::REDUCTION_NONE);
  const std::string message = request.SerializeAsString();
  call.Send(message);
  Poll();
  EXPECT_EQ(admission().held_bytes(),
            (24 << 10) + static_cast<int64_t>(message.size()) + PairCharge(2048) + 2048 * 4);
  call.StallWrites(false);
  Poll();
}

TEST_F(EvaluateTest, ShedsWhatDoesNotFitAndSaysWhenToComeBack) {
  options().max_queue_bytes = 1 << 20;
  Start();
  lanes().Hold();
  FakeCall& first = Evaluate(PairOf(60'000));
  ASSERT_TRUE(lanes().WaitUntilHeld());
  FakeCall& second = Evaluate(PairOf(60'000));
  EXPECT_THAT(second.status(), HasStatus(Code::kResourceExhausted, "of 1048576 bytes"));
  EXPECT_GE(second.retry_after(), milliseconds(50));
  EXPECT_LE(second.retry_after(), milliseconds(150));
  EXPECT_EQ(counters().shed_calls, 1);
  // A small one has room still.
  EXPECT_TRUE(Evaluate(PairOf(1000)).status().ok());
  lanes().Release();
  ASSERT_TRUE(PollUntil([&] { return first.done(); }));
  EXPECT_TRUE(first.status().ok());
}

TEST_F(EvaluateTest, ShedsAtTheHeadersByWhatTheConnectionSentLast) {
  options().max_queue_bytes = 1 << 20;
  Start();
  lanes().Hold();
  Evaluate(PairOf(65'000), "ipv4:10.0.0.1:1");
  ASSERT_TRUE(lanes().WaitUntilHeld());
  FakeCall& large = Call(Method::kEvaluate, "ipv4:10.0.0.1:1");
  FakeCall& other = Call(Method::kEvaluate, "ipv4:10.0.0.1:2");
  Poll();
  EXPECT_THAT(large.status(), HasStatus(Code::kResourceExhausted, "queue full"));
  EXPECT_EQ(large.reads(), 0);
  EXPECT_TRUE(other.reading());
  other.Send(PairOf(10).SerializeAsString());
  Poll();
  EXPECT_TRUE(other.status().ok());
}

TEST_F(EvaluateTest, RefusesForGoodWhatCanNeverFit) {
  options().max_queue_bytes = 1 << 20;
  Start();
  FakeCall& call = Evaluate(PairOf(200'000));
  ASSERT_TRUE(PollUntil([&] { return call.done(); }));
  EXPECT_EQ(call.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(call.retry_after(), milliseconds(0));
}

TEST_F(EvaluateTest, DecodesALargeMessageOffThePollingThread) {
  Start();
  const v1::EvaluateRequest request = PairOf(200'000);
  FakeCall& call = Evaluate(request);
  ASSERT_TRUE(PollUntil([&] { return call.done(); }));
  EXPECT_NEAR(ParseResponse(call).loss(), PlainSum(request), 1e-9 * std::fabs(PlainSum(request)));
}

TEST_F(EvaluateTest, PassesOnADevicesFault) {
  Start();
  lanes().SetStatus(absl::UnavailableError("cudaErrorLaunchFailure"));
  FakeCall& call = Evaluate(PairOf(kQueued));
  ASSERT_TRUE(PollUntil([&] { return call.done(); }));
  EXPECT_THAT(call.status(), HasStatus(Code::kUnavailable, "cudaErrorLaunchFailure"));
}

class EvaluateBatchTest : public ServiceTest {
 protected:
  FakeCall& EvaluateBatch(const v1::EvaluateBatchRequest& request) {
    FakeCall& call = Send(Method::kEvaluateBatch, request.SerializeAsString());
    EXPECT_TRUE(PollUntil([&] { return call.done(); }));
    return call;
  }
};

TEST_F(EvaluateBatchTest, AnswersAnEmptyBatchWithNothing) {
  Start();
  EXPECT_EQ(ParseBatchResponse(EvaluateBatch({})).results_size(), 0);
}

TEST_F(EvaluateBatchTest, AnswersInOrderAndGivesFaultsTheirOwnError) {
  Start();
  for (const int64_t elements : {int64_t{100}, kQueued}) {  // inline, and by a lane
    v1::EvaluateBatchRequest request;
    *request.add_requests() = PairOf(10, 7);
    *request.add_requests() = FaultyPair(8);
    *request.add_requests() = PairOf(elements, 9);
    const v1::EvaluateBatchResponse response = ParseBatchResponse(EvaluateBatch(request));
    ASSERT_EQ(response.results_size(), 3);
    EXPECT_EQ(response.results(0).request_id(), 7u);
    EXPECT_EQ(response.results(0).response().request_id(), 7u);
    EXPECT_NEAR(response.results(0).response().loss(), PlainSum(request.requests(0)), 1e-9);
    EXPECT_EQ(response.results(1).request_id(), 8u);
    EXPECT_EQ(response.results(1).error().code(), static_cast<int>(Code::kInvalidArgument));
    EXPECT_THAT(response.results(1).error().message(), HasSubstr("shape"));
    EXPECT_EQ(response.results(2).response().element_count(), elements);
    EXPECT_EQ(ParseBatchResponse(EvaluateBatch(request)).SerializeAsString(), response.SerializeAsString());
  }
}

TEST_F(EvaluateBatchTest, AnswersABatchOfNothingButFaults) {
  Start();
  v1::EvaluateBatchRequest request;
  for (int i = 0; i < 10; ++i) *request.add_requests() = FaultyPair();
  EXPECT_EQ(ParseBatchResponse(EvaluateBatch(request)).results_size(), 10);
}

TEST_F(EvaluateBatchTest, AnswersNoneForEachPairFromItsOwnMemory) {
  Start();
  v1::EvaluateBatchRequest request;
  for (const int64_t elements : {int64_t{5}, int64_t{0}, int64_t{7000}, int64_t{3}}) {
    *request.add_requests() = PairOf(elements);
    request.mutable_requests(request.requests_size() - 1)->set_reduction(v1::REDUCTION_NONE);
  }
  const v1::EvaluateBatchResponse response = ParseBatchResponse(EvaluateBatch(request));
  ASSERT_EQ(response.results_size(), 4);
  for (int i = 0; i < 4; ++i) {
    v1::EvaluateRequest alone = request.requests(i);
    FakeCall& call = Evaluate(alone);
    ASSERT_TRUE(PollUntil([&] { return call.done(); }));
    EXPECT_EQ(response.results(i).response().pointwise().data(), ParseResponse(call).pointwise().data()) << i;
  }
}

TEST_F(EvaluateBatchTest, RefusesTooManyPairsAsAWhole) {
  options().max_pairs_per_message = 2;
  Start();
  v1::EvaluateBatchRequest request;
  for (int i = 0; i < 3; ++i) *request.add_requests() = PairOf(1);
  EXPECT_EQ(EvaluateBatch(request).status().code(), Code::kInvalidArgument);
}

TEST_F(EvaluateBatchTest, KeepsAPairsOwnDeadline) {
  Start();
  for (const int64_t elements : {int64_t{100}, kQueued}) {  // inline, and by a lane
    v1::EvaluateBatchRequest request;
    *request.add_requests() = PairOf(elements);
    *request.add_requests() = PairOf(elements);
    request.mutable_requests(0)->set_timeout_ns(1);
    request.mutable_requests(1)->set_timeout_ns(std::numeric_limits<int64_t>::max());
    const v1::EvaluateBatchResponse response = ParseBatchResponse(EvaluateBatch(request));
    ASSERT_EQ(response.results_size(), 2);
    EXPECT_EQ(response.results(0).error().code(), static_cast<int>(Code::kDeadlineExceeded));
    EXPECT_THAT(response.results(0).error().message(), HasSubstr("not computed"));
    EXPECT_TRUE(response.results(1).has_response());
  }
  EXPECT_EQ(counters().expired_pairs, 2);
}

TEST_F(EvaluateBatchTest, IsShedWhole) {
  options().max_queue_bytes = 1 << 20;
  Start();
  lanes().Hold();
  FakeCall& first = Send(Method::kEvaluate, PairOf(60'000).SerializeAsString());
  ASSERT_TRUE(lanes().WaitUntilHeld());
  v1::EvaluateBatchRequest request;
  *request.add_requests() = PairOf(1);
  *request.add_requests() = PairOf(60'000);
  EXPECT_THAT(EvaluateBatch(request).status(), HasStatus(Code::kResourceExhausted, "queue full"));
  lanes().Release();
  ASSERT_TRUE(PollUntil([&] { return first.done(); }));
}

TEST_F(EvaluateBatchTest, LosesNoOtherPairToABadOneAmongAThousand) {
  Start();
  v1::EvaluateBatchRequest request;
  for (int i = 0; i < 1000; ++i) *request.add_requests() = i == 500 ? FaultyPair(500) : PairOf(100, i);
  const v1::EvaluateBatchResponse response = ParseBatchResponse(EvaluateBatch(request));
  ASSERT_EQ(response.results_size(), 1000);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(response.results(i).has_error(), i == 500) << i;
    EXPECT_EQ(response.results(i).request_id(), static_cast<uint64_t>(i));
  }
}

TEST_F(EvaluateTest, TellsWhatTheServerIs) {
  options().backend = "cpu";
  options().features = {"shared_memory"};
  Start();
  FakeCall& call = Send(Method::kGetServerInfo, "");
  v1::GetServerInfoResponse info;
  ASSERT_EQ(call.answers().size(), 1u);
  ASSERT_TRUE(info.ParseFromString(call.answers()[0]));
  EXPECT_EQ(info.version(), "0.1.0");
  EXPECT_EQ(info.backend(), "cpu");
  EXPECT_THAT(info.devices(), ::testing::ElementsAre("scalar, 1 thread"));
  EXPECT_EQ(info.max_message_bytes(), 16 << 20);
  EXPECT_EQ(info.max_queue_bytes(), 64 << 20);
  EXPECT_EQ(info.numerics_version(), 1u);
  EXPECT_EQ(info.max_pairs_per_message(), 65536);
  EXPECT_EQ(info.max_dimensions(), 64);
  EXPECT_EQ(info.max_in_flight_per_stream(), 256);
  EXPECT_THAT(info.features(), ::testing::ElementsAre("shared_memory"));
}

}  // namespace
}  // namespace kldiv::server
