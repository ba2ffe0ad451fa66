// What the server says to bad input, over real gRPC: the contract's error table, by exact code and by what
// the text names.

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "kldiv/v1/kldiv.grpc.pb.h"
#include "server/base/version.h"
#include "tests/integration/http2_client.h"
#include "tests/integration/requests.h"
#include "tests/integration/server_process.h"

namespace kldiv::integration {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kEvaluate[] = "/kldiv.v1.KlDivergence/Evaluate";
constexpr char kEvaluateBatch[] = "/kldiv.v1.KlDivergence/EvaluateBatch";

class Refusals : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = new ServerProcess({"--max_message_bytes=1MiB"}); }
  static void TearDownTestSuite() { delete std::exchange(server_, nullptr); }

  // Every refusal is followed by proof that the server still answers, on a connection of its own: gRPC may
  // have closed the one that was refused.
  void TearDown() override {
    grpc::ClientContext context;
    v1::EvaluateResponse response;
    const auto stub = v1::KlDivergence::NewStub(server_->NewChannel());
    EXPECT_TRUE(stub->Evaluate(&context, UniformRequest(10), &response).ok());
  }

  grpc::Status SendBytes(const char* path, const std::string& bytes, grpc_compression_algorithm compression) {
    grpc::ClientContext context;
    context.set_compression_algorithm(compression);
    grpc::GenericStub stub(channel_);
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::CompletionQueue queue;
    const auto call = stub.PrepareUnaryCall(&context, path, request, &queue);
    grpc::ByteBuffer response;
    grpc::Status status;
    void* tag = nullptr;
    bool ok = false;
    call->StartCall();
    call->Finish(&response, &status, this);
    queue.Next(&tag, &ok);
    return status;
  }
  grpc::Status SendBytes(const char* path, const std::string& bytes) {
    return SendBytes(path, bytes, GRPC_COMPRESS_NONE);
  }

  grpc::Status Send(const v1::EvaluateRequest& request) {
    return SendBytes(kEvaluate, request.SerializeAsString());
  }

  void ExpectInvalid(const grpc::Status& status, const ::testing::Matcher<const std::string&>& text) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
    EXPECT_THAT(status.error_message(), text);
  }

  static ServerProcess* server_;
  const std::shared_ptr<grpc::Channel> channel_ = server_->NewChannel();
  const std::unique_ptr<v1::KlDivergence::Stub> stub_ = v1::KlDivergence::NewStub(channel_);
};
ServerProcess* Refusals::server_ = nullptr;

TEST_F(Refusals, AMissingTensor) {
  v1::EvaluateRequest request = UniformRequest(10);
  request.clear_input();
  ExpectInvalid(Send(request), HasSubstr("input"));
  request = UniformRequest(10);
  request.clear_target();
  ExpectInvalid(Send(request), HasSubstr("target"));
  ExpectInvalid(Send(v1::EvaluateRequest()), HasSubstr("input"));
}

TEST_F(Refusals, AnUnknownDtype) {
  v1::EvaluateRequest request = UniformRequest(10);
  request.mutable_target()->set_dtype(v1::DATA_TYPE_UNSPECIFIED);
  ExpectInvalid(Send(request), HasSubstr("target.dtype"));
  request.mutable_target()->set_dtype(static_cast<v1::DataType>(77));
  ExpectInvalid(Send(request), AllOf(HasSubstr("target.dtype"), HasSubstr("77")));
}

TEST_F(Refusals, AnUnknownReductionOrZeroRule) {
  v1::EvaluateRequest request = UniformRequest(10);
  request.set_reduction(static_cast<v1::Reduction>(9));
  ExpectInvalid(Send(request), AllOf(HasSubstr("reduction"), HasSubstr("9")));
  request = UniformRequest(10);
  request.set_zero_target(static_cast<v1::ZeroTarget>(5));
  ExpectInvalid(Send(request), AllOf(HasSubstr("zero_target"), HasSubstr("5")));
}

TEST_F(Refusals, AnUnknownFieldBelowAHundredButNotOneAbove) {
  const std::string known = UniformRequest(10).SerializeAsString();
  ExpectInvalid(SendBytes(kEvaluate, known + std::string("\x48\x01", 2)),  // 9: 1
                HasSubstr(std::string("field 9 is not known to this server (") + base::kVersion + ")"));
  EXPECT_TRUE(SendBytes(kEvaluate, known + std::string("\xb0\x06\x01", 3)).ok());  // 102: 1
}

TEST_F(Refusals, ABoolThatIsNeitherZeroNorOne) {
  ExpectInvalid(SendBytes(kEvaluate, UniformRequest(10).SerializeAsString() + std::string("\x28\x02", 2)),
                AllOf(HasSubstr("log_target"), HasSubstr("2")));
}

TEST_F(Refusals, ShapesThatDiffer) {
  v1::EvaluateRequest request = UniformRequest(10);
  request.mutable_target()->clear_shape();
  request.mutable_target()->add_shape(2);
  request.mutable_target()->add_shape(5);
  ExpectInvalid(Send(request), AllOf(HasSubstr("[10]"), HasSubstr("[2, 5]")));
}

TEST_F(Refusals, ANegativeDimension) {
  v1::EvaluateRequest request = UniformRequest(10);
  request.mutable_input()->set_shape(0, -10);
  ExpectInvalid(Send(request), AllOf(HasSubstr("input.shape"), HasSubstr("-10")));
}

TEST_F(Refusals, MoreThanSixtyFourDimensionsButNotSixtyFour) {
  v1::EvaluateRequest request = UniformRequest(1);
  for (v1::Tensor* const tensor : {request.mutable_input(), request.mutable_target()}) {
    while (tensor->shape_size() < 64) tensor->add_shape(1);
  }
  EXPECT_TRUE(Send(request).ok());
  request.mutable_input()->add_shape(1);
  ExpectInvalid(Send(request), AllOf(HasSubstr("input.shape"), HasSubstr("64")));
}

TEST_F(Refusals, AShapeWhoseProductOverflows) {
  v1::EvaluateRequest request = UniformRequest(1);
  for (v1::Tensor* const tensor : {request.mutable_input(), request.mutable_target()}) {
    tensor->set_shape(0, INT64_C(1) << 40);
    tensor->add_shape(INT64_C(1) << 40);
  }
  ExpectInvalid(Send(request), HasSubstr("input.shape"));
}

TEST_F(Refusals, BytesThatDoNotFitTheShape) {
  v1::EvaluateRequest request = UniformRequest(10);
  request.mutable_input()->mutable_data()->pop_back();
  ExpectInvalid(Send(request), AllOf(HasSubstr("input"), HasSubstr("39"), HasSubstr("40")));
}

TEST_F(Refusals, BytesThatAreNoMessage) {
  for (const char* const path : {kEvaluate, kEvaluateBatch}) {
    EXPECT_EQ(SendBytes(path, "\xff\xff\xff").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(Refusals, AMessageOverTheLimit) {
  const grpc::Status status = SendBytes(kEvaluate, std::string((1 << 20) + 1, 'x'));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("1048576"));
}

TEST_F(Refusals, ACompressedMessage) {
  const grpc::Status status = SendBytes(kEvaluate, std::string(100'000, '\0'), GRPC_COMPRESS_GZIP);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("identity"));
}

TEST_F(Refusals, AnUnknownMethod) {
  const grpc::Status status = SendBytes("/kldiv.v1.KlDivergence/Estimate", "");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(status.error_message(), HasSubstr("/kldiv.v1.KlDivergence/Estimate"));
}

TEST_F(Refusals, HeadersOverSixtyFourKibibytes) {
  grpc::ClientContext context;
  context.AddMetadata("x-large", std::string(100'000, 'x'));
  v1::EvaluateResponse response;
  const grpc::Status status = stub_->Evaluate(&context, UniformRequest(10), &response);
  // gRPC says so, or closes the connection: which one, is a race inside it.
  EXPECT_TRUE(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED ||
              status.error_code() == grpc::StatusCode::UNAVAILABLE)
      << status.error_code() << ": " << status.error_message();
}

// Nothing but their size says that they are too large: no frame is, and they do not end.
TEST_F(Refusals, HeadersOverSixtyFourKibibytesInFramesThatGoOn) {
  constexpr char kStatus[] = "grpc-status\x01";
  const std::string fields =
      std::string("\0\1x\x7f\x81\x7c", 6) + std::string(16'000, 'v');  // x: 16,000 bytes
  const std::string begin_of_one("\0\1x\x7f\x81\xff\xff\xff\1", 9);    // x: 4 MiB
  for (const bool one_field : {false, true}) {
    Http2Call call(server_->address(), kEvaluate, Http2Call::Headers::kGoOn);
    if (one_field) call.ContinueHeaders(begin_of_one);
    for (int bytes = 0; bytes <= 65536; bytes += 16'000)
      call.ContinueHeaders(one_field ? std::string(16'000, 'v') : fields);
    EXPECT_THAT(call.ReceiveAll(), HasSubstr(std::string(kStatus) + "8")) << "one field: " << one_field;
  }
}

TEST_F(Refusals, HeadersInMoreFramesThanTheyNeed) {
  Http2Call call(server_->address(), kEvaluate, Http2Call::Headers::kGoOn);
  for (int i = 0; i < 32; ++i) call.ContinueHeaders("");
  EXPECT_THAT(call.ReceiveAll(), HasSubstr("grpc-status"));
}

// A call that was reset counts no longer among those that are open, but its memory is not free yet; and gRPC
// alone limits the open ones of no client that has not acknowledged the limit.
TEST_F(Refusals, AConnectionThatOpensOrResetsCallsWithoutEndAndNobodyElse) {
#ifdef __SANITIZE_ADDRESS__
  constexpr int64_t kMostMemory = 512 << 20;  // AddressSanitizer keeps what is freed.
#else
  constexpr int64_t kMostMemory = 64 << 20;
#endif
  constexpr char kMemory[] = "process_resident_memory_bytes";
  const int64_t memory = server_->Metric(kMemory);
  for (const auto another : {&Http2Call::CallAgain, &Http2Call::CancelAndCall}) {
    Http2Call call(server_->address(), kEvaluate);
    for (int i = 0; i < 20'000 && (call.*another)(kEvaluate); ++i) {
    }
    EXPECT_TRUE(call.WaitUntilClosed(std::chrono::seconds(10)));
    EXPECT_LT(server_->Metric(kMemory) - memory, kMostMemory);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
    v1::EvaluateResponse response;
    const grpc::Status other = stub_->Evaluate(&context, UniformRequest(10), &response);
    EXPECT_TRUE(other.ok()) << other.error_message();
  }
}

TEST_F(Refusals, NoResetsOfAllCallsThatAConnectionMayHaveOpenWhateverOthersHaveResetBefore) {
  for (int connection = 0; connection < 10; ++connection) {
    Http2Call call(server_->address(), kEvaluate);
    for (int i = 0; i < 1023; ++i) ASSERT_TRUE(call.CancelAndCall(kEvaluate)) << i;
    ASSERT_TRUE(call.CancelAndCall("/kldiv.v1.KlDivergence/Estimate"));
    constexpr char kUnimplemented[] = "grpc-status\00212";
    EXPECT_TRUE(call.ReceiveUntil(kUnimplemented, std::chrono::seconds(10))) << connection;
  }
}

TEST_F(Refusals, OneBadPairAmongAThousandIsItsOwnFaultAlone) {
  v1::EvaluateBatchRequest request;
  for (int i = 0; i < 1000; ++i) *request.add_requests() = UniformRequest(10, static_cast<uint64_t>(i));
  request.mutable_requests(500)->mutable_input()->set_shape(0, 11);
  grpc::ClientContext context;
  v1::EvaluateBatchResponse response;
  ASSERT_TRUE(stub_->EvaluateBatch(&context, request, &response).ok());
  ASSERT_EQ(response.results_size(), 1000);
  for (int i = 0; i < 1000; ++i) {
    const v1::EvaluateResult& result = response.results(i);
    EXPECT_EQ(result.request_id(), static_cast<uint64_t>(i));
    if (i == 500) {
      EXPECT_EQ(result.error().code(), static_cast<int>(grpc::StatusCode::INVALID_ARGUMENT));
      EXPECT_THAT(result.error().message(), HasSubstr("shape"));
    } else {
      EXPECT_EQ(result.response().loss(), response.results(0).response().loss()) << i;
    }
  }
}

TEST_F(Refusals, MorePairsThanAllowedInABatch) {
  ServerProcess server({"--max_pairs_per_message=3"});
  const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
  v1::EvaluateBatchRequest request;
  v1::EvaluateBatchResponse response;
  for (int i = 0; i < 3; ++i) *request.add_requests() = UniformRequest(10);
  grpc::ClientContext allowed;
  EXPECT_TRUE(stub->EvaluateBatch(&allowed, request, &response).ok());
  *request.add_requests() = UniformRequest(10);
  grpc::ClientContext refused;
  ExpectInvalid(stub->EvaluateBatch(&refused, request, &response), HasSubstr("3"));
}

TEST_F(Refusals, ABrokenMessageOnAStreamEndsItAfterTheOthersAreAnswered) {
  grpc::ClientContext context;
  grpc::GenericStub stub(channel_);
  grpc::CompletionQueue queue;
  const auto wait = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ok;
  };
  const auto call = stub.PrepareCall(&context, "/kldiv.v1.KlDivergence/EvaluateStream", &queue);
  call->StartCall(nullptr);
  wait();
  for (const std::string& bytes : {UniformRequest(10, 7).SerializeAsString(), std::string("\xff\xff")}) {
    const grpc::Slice slice(bytes);
    call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    ASSERT_TRUE(wait());
  }
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  EXPECT_TRUE(wait());
  call->Read(&answer, nullptr);
  EXPECT_FALSE(wait());
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
}

}  // namespace
}  // namespace kldiv::integration
