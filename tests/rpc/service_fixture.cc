#include "tests/rpc/service_fixture.h"

#include <cmath>
#include <cstring>
#include <utility>

namespace kldiv::server {
namespace {

float At(const std::string& data, size_t i) {
  float value = 0;
  std::memcpy(&value, data.data() + i * sizeof(value), sizeof(value));
  return value;
}

// The only answer of a call that ended well.
template <class Response>
Response ParseOnly(const testing::FakeCall& call) {
  EXPECT_TRUE(call.status().ok()) << call.status();
  const std::vector<std::string> answers = call.answers();
  Response response;
  if (answers.size() != 1 || !response.ParseFromString(answers[0])) ADD_FAILURE() << "not one answer";
  return response;
}

}  // namespace

ServiceTest::ServiceTest() {
  options_.version = "0.1.0";
  options_.devices = {"scalar, 1 thread"};
  options_.read_grants = 16;
  options_.read_timeout = milliseconds(1000);
  options_.max_queue_bytes = int64_t{64} << 20;
  options_.max_message_bytes = int64_t{16} << 20;
}

ServiceTest::~ServiceTest() {
  if (service_ == nullptr) return;
  lanes_.Release();
  PollUntil([this] { return !service_->Busy(); });
  transport_.reset();
  batcher_->Close();
  runner_.reset();
  EXPECT_EQ(counters().calls_started, counters().calls_ended);
  EXPECT_EQ(counters().admitted_pairs, counters().completed_pairs);
  EXPECT_EQ(service_->read_grants().held, 0);
  EXPECT_EQ(service_->read_grants().parked, 0);
  EXPECT_EQ(admission_->held_bytes(), 0);
}

void ServiceTest::Start(int transport_threads, int lanes) {
  admission_ = std::make_unique<Admission>(options_.max_queue_bytes);
  batcher_ = std::make_unique<Batcher>();
  runner_ =
      std::make_unique<LaneRunner>(*batcher_, LaneKind::kCpu, lanes_.MakeLanes(lanes), int64_t{32} << 20);
  service_ = EvaluationService::Create(options_, *admission_, *batcher_);
  transport_ = std::make_unique<testing::FakeTransport>(*service_, transport_threads);
}

void ServiceTest::TickAfter(milliseconds later) {
  service_->Tick(std::chrono::steady_clock::now() + later);
  Poll();
}

testing::FakeCall& ServiceTest::Call(Method method, std::string peer,
                                     std::chrono::steady_clock::time_point deadline) {
  testing::FakeTransport::CallOptions call;
  call.peer = std::move(peer);
  call.deadline = deadline;
  call.path = method == Method::kUnknown ? "/kldiv.v1.KlDivergence/Guess" : PathOf(method);
  return transport_->Call(method, std::move(call));
}

testing::FakeCall& ServiceTest::Evaluate(const v1::EvaluateRequest& request, std::string peer) {
  return Send(Method::kEvaluate, request.SerializeAsString(), std::move(peer));
}

testing::FakeCall& ServiceTest::Send(Method method, const std::string& message, std::string peer) {
  testing::FakeCall& call = Call(method, std::move(peer));
  call.Send(message);
  call.HalfClose();
  Poll();
  return call;
}

testing::FakeCall& ServiceTest::OpenStream(std::string peer) {
  testing::FakeCall& call = Call(Method::kEvaluateStream, std::move(peer));
  Poll();
  return call;
}

v1::EvaluateRequest PairOf(int64_t elements, uint64_t request_id) {
  v1::EvaluateRequest request;
  request.set_request_id(request_id);
  std::string input;
  std::string target;
  for (int64_t i = 0; i < elements; ++i) {
    const float x = -1.0F - static_cast<float>((i * 7 + static_cast<int64_t>(request_id)) % 13);
    const float t = 0.01F + static_cast<float>((i * 5) % 11) / 16;
    input.append(reinterpret_cast<const char*>(&x), sizeof(x));
    target.append(reinterpret_cast<const char*>(&t), sizeof(t));
  }
  for (v1::Tensor* tensor : {request.mutable_input(), request.mutable_target()}) {
    tensor->set_dtype(v1::DATA_TYPE_FP32);
    tensor->add_shape(elements);
  }
  request.mutable_input()->set_data(std::move(input));
  request.mutable_target()->set_data(std::move(target));
  request.set_reduction(v1::REDUCTION_SUM);
  return request;
}

double PlainSum(const v1::EvaluateRequest& request) {
  double sum = 0;
  for (size_t i = 0; i < request.input().data().size() / sizeof(float); ++i) {
    const double x = At(request.input().data(), i);
    const double t = At(request.target().data(), i);
    sum += (t == 0 ? 0 : t * std::log(t)) - t * x;
  }
  return sum;
}

v1::EvaluateRequest FaultyPair(uint64_t request_id) {
  v1::EvaluateRequest request = PairOf(6, request_id);
  request.mutable_target()->clear_shape();
  request.mutable_target()->add_shape(2);
  request.mutable_target()->add_shape(3);
  return request;
}

v1::EvaluateResponse ParseResponse(const testing::FakeCall& call) {
  return ParseOnly<v1::EvaluateResponse>(call);
}

v1::EvaluateResult ParseResult(const std::string& bytes) {
  v1::EvaluateResult result;
  EXPECT_TRUE(result.ParseFromString(bytes));
  return result;
}

v1::EvaluateBatchResponse ParseBatchResponse(const testing::FakeCall& call) {
  return ParseOnly<v1::EvaluateBatchResponse>(call);
}

}  // namespace kldiv::server
