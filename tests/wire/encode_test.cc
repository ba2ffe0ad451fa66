// What is written is, byte for byte, what the generated classes serialize, and their parser reads it back.
#include "proto/wire/encode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "kldiv/v1/kldiv.pb.h"
#include "proto/wire/decode.h"
#include "tests/wire/wire_bytes.h"

namespace kldiv::wire::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::vector<int64_t> kShape = {2, 300};
const std::vector<uint8_t> kBytes(1200, 0xab);

// The message that the parts are.
std::string Whole(const Parts& parts) {
  std::string bytes;
  size_t done = 0;
  for (const Parts::Reference& reference : parts.references) {
    bytes += parts.owned.substr(done, reference.after - done);
    done = reference.after;
    bytes.append(reinterpret_cast<const char*>(reference.bytes.data()), reference.bytes.size());
  }
  bytes += parts.owned.substr(done);
  EXPECT_EQ(bytes.size(), parts.size());
  return bytes;
}

PairAnswer Loss(double loss) {
  PairAnswer answer;
  answer.request_id = 300;
  answer.element_count = 600;
  answer.loss = loss;
  return answer;
}

PairAnswer Pointwise() {
  PairAnswer answer = Loss(0);
  answer.none = true;
  answer.pointwise_dtype = numerics::DType::kBf16;
  answer.shape = kShape;
  answer.pointwise = kBytes;
  answer.tag = 77;
  return answer;
}

PairAnswer Failure(absl::Status status) {
  PairAnswer answer;
  answer.request_id = 300;
  answer.status = std::move(status);
  return answer;
}

// The same by the generated classes.
v1::EvaluateResponse ResponseOf(const PairAnswer& answer) {
  v1::EvaluateResponse response;
  response.set_request_id(answer.request_id);
  response.set_element_count(answer.element_count);
  if (answer.none) {
    v1::Tensor& pointwise = *response.mutable_pointwise();
    pointwise.set_dtype(static_cast<v1::DataType>(answer.pointwise_dtype));
    pointwise.mutable_shape()->Add(answer.shape.begin(), answer.shape.end());
    pointwise.set_data(answer.pointwise.data(), answer.pointwise.size());
  } else {
    response.set_loss(answer.loss);
  }
  if (answer.timing) {
    v1::Timing& timing = *response.mutable_timing();
    timing.set_queue_ns(answer.timing->queue_ns);
    timing.set_compute_ns(answer.timing->compute_ns);
    timing.set_total_ns(answer.timing->total_ns);
    timing.set_batch_pairs(answer.timing->batch_pairs);
  }
  return response;
}

v1::EvaluateResult ResultOf(const PairAnswer& answer) {
  v1::EvaluateResult result;
  result.set_request_id(answer.request_id);
  if (answer.status.ok()) {
    *result.mutable_response() = ResponseOf(answer);
  } else {
    result.mutable_error()->set_code(static_cast<int>(answer.status.code()));
    result.mutable_error()->set_message(std::string(answer.status.message()));
    result.mutable_error()->set_retry_after_ms(answer.retry_after_ms);
  }
  return result;
}

void ExpectAsGenerated(const PairAnswer& answer) {
  if (answer.status.ok()) {
    EXPECT_EQ(Whole(EncodeEvaluateResponse(answer)), ResponseOf(answer).SerializeAsString());
  }
  EXPECT_EQ(Whole(EncodeEvaluateResult(answer)), ResultOf(answer).SerializeAsString());
}

TEST(Encode, ALossIsWrittenAlsoWhenItIsZeroOrNotFinite) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double loss : {0.25, 0.0, -0.0, kInfinity, -kInfinity, std::nan("")})
    ExpectAsGenerated(Loss(loss));
  ExpectAsGenerated(PairAnswer());
  v1::EvaluateResponse response;
  ASSERT_TRUE(response.ParseFromString(Whole(EncodeEvaluateResponse(Loss(0)))));
  EXPECT_TRUE(response.has_loss());
  EXPECT_FALSE(response.has_pointwise() || response.has_timing());
}

TEST(Encode, ALossHasNoReferences) { EXPECT_THAT(EncodeEvaluateResult(Loss(1)).references, IsEmpty()); }

TEST(Encode, PointwiseLossesAreReferencedWithTheirTag) {
  const PairAnswer answer = Pointwise();
  ExpectAsGenerated(answer);
  const Parts parts = EncodeEvaluateResponse(answer);
  ASSERT_THAT(parts.references, SizeIs(1));
  EXPECT_EQ(parts.references[0].bytes.data(), kBytes.data());
  EXPECT_EQ(parts.references[0].bytes.size(), kBytes.size());
  EXPECT_EQ(parts.references[0].tag, 77u);
  EXPECT_LT(parts.owned.size(), 40u);
}

TEST(Encode, EmptyPointwiseLossesAreATensorWithoutAReference) {
  PairAnswer answer = Pointwise();
  const std::vector<int64_t> empty = {0};
  answer.shape = empty;
  answer.pointwise = {};
  answer.element_count = 0;
  ExpectAsGenerated(answer);
  EXPECT_THAT(EncodeEvaluateResponse(answer).references, IsEmpty());
}

TEST(Encode, PointwiseLossesOfAScalarHaveNoShape) {
  PairAnswer answer = Pointwise();
  answer.shape = {};
  ExpectAsGenerated(answer);
}

TEST(Encode, ATimingIsWrittenWhenThereIsOne) {
  PairAnswer answer = Loss(1);
  answer.timing = Timing{};
  ExpectAsGenerated(answer);
  answer.timing = Timing{.queue_ns = 1, .compute_ns = 1'000'000'000'000, .total_ns = -1, .batch_pairs = 64};
  ExpectAsGenerated(answer);
  answer.timing->batch_pairs = -1;
  ExpectAsGenerated(answer);
}

TEST(Encode, AnErrorHasItsCodeItsTextAndWhenToTryAgain) {
  PairAnswer answer = Failure(absl::InvalidArgumentError("input is missing"));
  ExpectAsGenerated(answer);
  answer.retry_after_ms = 250;
  ExpectAsGenerated(answer);
  ExpectAsGenerated(Failure(absl::Status(absl::StatusCode::kDeadlineExceeded, "")));
  ExpectAsGenerated(Failure(absl::UnauthenticatedError("no")));
}

// The message as it is sent.
std::string Sent(const std::string& text) {
  v1::EvaluateResult result;
  EXPECT_TRUE(result.ParseFromString(Whole(EncodeEvaluateResult(Failure(absl::InternalError(text))))));
  return result.error().message();
}

TEST(Encode, AnErrorsTextIsCutAtACharacter) {
  EXPECT_EQ(Sent(std::string(256, 'a')), std::string(256, 'a'));
  EXPECT_EQ(Sent(std::string(257, 'a')), std::string(256, 'a'));
  EXPECT_EQ(Sent(std::string(255, 'a') + "\u00e9"), std::string(255, 'a'));
  EXPECT_EQ(Sent(std::string(254, 'a') + "\u00e9" + "b"), std::string(254, 'a') + "\u00e9");
  EXPECT_EQ(Sent(std::string(253, 'a') + "\u20ac\u20ac"), std::string(253, 'a') + "\u20ac");
  EXPECT_EQ(Sent(std::string(253, 'a') + "\U0001f600"), std::string(253, 'a'));
}

TEST(Encode, AnErrorsTextIsValidUtf8WhateverCame) {
  EXPECT_EQ(Sent("a\xff"
                 "b"),
            "a?b");
  EXPECT_EQ(Sent("\xc3"), "?");  // cut short
  EXPECT_EQ(Sent("\xe2\x82"), "??");
  EXPECT_EQ(Sent("\xe2\x82z"), "??z");
  EXPECT_EQ(Sent("\x80"), "?");       // begins in the middle
  EXPECT_EQ(Sent("\xc0\xaf"), "??");  // overlong
  EXPECT_EQ(Sent("\xc1\xbf"), "??");
  EXPECT_EQ(Sent("\xe0\x9f\xbf"), "???");
  EXPECT_EQ(Sent("\xf0\x8f\xbf\xbf"), "????");
  EXPECT_EQ(Sent("\xed\xa0\x80"), "???");       // a surrogate
  EXPECT_EQ(Sent("\xf4\x90\x80\x80"), "????");  // over U+10FFFF
  EXPECT_EQ(Sent("\xf5\x80\x80\x80"), "????");
  EXPECT_EQ(Sent(std::string("a\0b", 3)), std::string("a\0b", 3));
  EXPECT_EQ(Sent("\u0080\u07ff\u0800\xed\x9f\xbf\ue000\uffff\U00010000\U0010ffff"),
            "\u0080\u07ff\u0800\xed\x9f\xbf\ue000\uffff\U00010000\U0010ffff");
}

TEST(Encode, ARandomTextIsAlwaysTakenByTheGeneratedParser) {
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string text(random() % 300, '\0');
    for (char& byte : text) byte = static_cast<char>(random() % 3 == 0 ? random() : 0x80 + random() % 0x78);
    v1::EvaluateResult result;
    ASSERT_TRUE(result.ParseFromString(Whole(EncodeEvaluateResult(Failure(absl::InternalError(text))))));
    ASSERT_LE(result.error().message().size(), 256u);
    ASSERT_GE(result.error().message().size(), std::min<size_t>(text.size(), 253));
  }
}

TEST(Encode, ABatchHasOneResultForEachAnswerInOrder) {
  const std::vector<PairAnswer> answers = {Loss(1), Failure(absl::CancelledError("gone")), Pointwise(),
                                           PairAnswer(), Pointwise()};
  v1::EvaluateBatchResponse response;
  for (const PairAnswer& answer : answers) *response.add_results() = ResultOf(answer);
  const Parts parts = EncodeEvaluateBatchResponse(answers);
  EXPECT_EQ(Whole(parts), response.SerializeAsString());
  EXPECT_THAT(parts.references, SizeIs(2));
  EXPECT_EQ(Whole(EncodeEvaluateBatchResponse({})), "");
}

Request SomeRequest() {
  Request request;
  request.request_id = 9;
  request.input = {numerics::DType::kBf16, kShape, kBytes};
  request.target = {numerics::DType::kBf16, kShape, kBytes};
  return request;
}

// The same by the generated classes.
void SetTensor(const RequestTensor& from, v1::Tensor* to) {
  to->set_dtype(static_cast<v1::DataType>(from.dtype));
  to->mutable_shape()->Add(from.shape.begin(), from.shape.end());
  to->set_data(from.data.data(), from.data.size());
}

v1::EvaluateRequest MessageOf(const Request& request) {
  v1::EvaluateRequest message;
  message.set_request_id(request.request_id);
  SetTensor(request.input, message.mutable_input());
  SetTensor(request.target, message.mutable_target());
  message.set_reduction(static_cast<v1::Reduction>(request.reduction));
  message.set_log_target(request.log_target);
  message.set_zero_target(request.skip_zero_target ? v1::ZERO_TARGET_SKIP : v1::ZERO_TARGET_TORCH);
  message.set_timeout_ns(request.timeout_ns);
  message.set_want_timing(request.want_timing);
  return message;
}

TEST(Encode, ARequestIsWrittenAroundTheCallersTensors) {
  Request request = SomeRequest();
  EXPECT_EQ(Whole(EncodeEvaluateRequest(request)), MessageOf(request).SerializeAsString());
  request.reduction = Reduction::kNone;
  request.log_target = true;
  request.skip_zero_target = true;
  request.timeout_ns = 5'000'000'000;
  request.want_timing = true;
  request.target.dtype = numerics::DType::kFp64;
  const Parts parts = EncodeEvaluateRequest(request);
  EXPECT_EQ(Whole(parts), MessageOf(request).SerializeAsString());
  ASSERT_THAT(parts.references, SizeIs(2));
  EXPECT_EQ(parts.references[0].tag, 0u);
  EXPECT_EQ(parts.references[1].tag, 1u);
  EXPECT_EQ(parts.references[1].bytes.data(), kBytes.data());
  EXPECT_EQ(Whole(EncodeEvaluateRequest(Request())), MessageOf(Request()).SerializeAsString());
}

TEST(Encode, ABatchOfRequestsNumbersItsTensors) {
  const std::vector<Request> requests(3, SomeRequest());
  v1::EvaluateBatchRequest message;
  for (const Request& request : requests) *message.add_requests() = MessageOf(request);
  const Parts parts = EncodeEvaluateBatchRequest(requests);
  EXPECT_EQ(Whole(parts), message.SerializeAsString());
  ASSERT_THAT(parts.references, SizeIs(6));
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(parts.references[i].tag, i);
}

TEST(Encode, TheDecoderReadsWhatWasEncoded) {
  Request request = SomeRequest();
  request.reduction = Reduction::kBatchMean;
  request.skip_zero_target = true;
  const SlicedMessage message(Whole(EncodeEvaluateRequest(request)), Sizes(100, 100));
  const auto got = DecodeEvaluateRequest(message.slices());
  ASSERT_TRUE(got.ok());
  ASSERT_EQ(got->status, absl::OkStatus());
  EXPECT_EQ(got->request_id, 9u);
  EXPECT_EQ(got->reduction, Reduction::kBatchMean);
  EXPECT_TRUE(got->pair.formula.skip_zero_target);
  EXPECT_THAT(got->shape, ElementsAre(2, 300));
  EXPECT_EQ(BytesOf(got->pair.target), std::string(1200, '\xab'));
}

}  // namespace
}  // namespace kldiv::wire::testing
