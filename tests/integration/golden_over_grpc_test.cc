// Every golden case through a running server, by each of the three ways to send it.

#include <gtest/gtest.h>

#include <thread>

#include "kldiv/v1/kldiv.grpc.pb.h"
#include "tests/golden/golden.h"
#include "tests/integration/server_process.h"

namespace kldiv::integration {
namespace {

constexpr v1::Reduction kReductions[] = {v1::REDUCTION_SUM, v1::REDUCTION_MEAN, v1::REDUCTION_BATCHMEAN,
                                         v1::REDUCTION_NONE};

void SetTensor(numerics::DType dtype, const golden::Case& golden_case, const std::string& bytes,
               v1::Tensor* tensor) {
  tensor->set_dtype(static_cast<v1::DataType>(dtype));
  for (const int64_t dimension : golden_case.shape) tensor->add_shape(dimension);
  tensor->set_data(bytes);
}

v1::EvaluateRequest RequestFor(const golden::Case& golden_case, v1::Reduction reduction, uint64_t id) {
  v1::EvaluateRequest request;
  request.set_request_id(id);
  SetTensor(golden_case.formula.input, golden_case, golden_case.input, request.mutable_input());
  SetTensor(golden_case.formula.target, golden_case, golden_case.target, request.mutable_target());
  request.set_reduction(reduction);
  request.set_log_target(golden_case.formula.log_target);
  if (golden_case.formula.skip_zero_target) request.set_zero_target(v1::ZERO_TARGET_SKIP);
  return request;
}

std::string WrongLoss(const golden::Case& golden_case, v1::Reduction reduction, double loss) {
  switch (reduction) {
    case v1::REDUCTION_SUM:
      return golden_case.WrongLoss(golden::Reduction::kSum, loss);
    case v1::REDUCTION_MEAN:
      return golden_case.WrongLoss(golden::Reduction::kMean, loss);
    default:
      return golden_case.WrongLoss(golden::Reduction::kBatchMean, loss);
  }
}

void ExpectRight(const golden::Case& golden_case, v1::Reduction reduction,
                 const v1::EvaluateResponse& response) {
  EXPECT_EQ(response.element_count(), golden_case.elements) << golden_case.name;
  if (reduction != v1::REDUCTION_NONE) {
    ASSERT_TRUE(response.has_loss() && !response.has_pointwise()) << golden_case.name;
    EXPECT_EQ(WrongLoss(golden_case, reduction, response.loss()), "") << golden_case.name;
    return;
  }
  ASSERT_TRUE(response.has_pointwise() && !response.has_loss()) << golden_case.name;
  const v1::Tensor& pointwise = response.pointwise();
  EXPECT_EQ(pointwise.dtype(), static_cast<v1::DataType>(golden_case.formula.output())) << golden_case.name;
  EXPECT_EQ(std::vector<int64_t>(pointwise.shape().begin(), pointwise.shape().end()), golden_case.shape)
      << golden_case.name;
  EXPECT_EQ(golden_case.WrongPointwise(pointwise.data()), "") << golden_case.name;
}

// Cases of both kinds, asked with each reduction; request ids are places in the list.
struct Question {
  const golden::Case* golden_case;
  v1::Reduction reduction;
};

class GoldenOverGrpc : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    cases_ = new golden::Cases(golden::ExactCases());
    for (auto& frozen : golden::FrozenCases()) cases_->push_back(std::move(frozen));
    server_ = new ServerProcess({"--max_pairs_per_message=65536"});
  }
  static void TearDownTestSuite() {
    delete std::exchange(server_, nullptr);
    delete std::exchange(cases_, nullptr);
  }

  static std::vector<Question> Questions(int64_t max_elements) {
    std::vector<Question> questions;
    for (const auto& golden_case : *cases_) {
      if (golden_case->elements > max_elements) continue;
      for (const v1::Reduction reduction : kReductions) questions.push_back({golden_case.get(), reduction});
    }
    EXPECT_GE(questions.size(), 4 * (648 + 310));
    return questions;
  }

  static golden::Cases* cases_;
  static ServerProcess* server_;
  const std::unique_ptr<v1::KlDivergence::Stub> stub_ = v1::KlDivergence::NewStub(server_->NewChannel());
};
golden::Cases* GoldenOverGrpc::cases_ = nullptr;
ServerProcess* GoldenOverGrpc::server_ = nullptr;

TEST_F(GoldenOverGrpc, EveryCaseIsRightByItself) {
  const std::vector<Question> questions = Questions(INT64_MAX);
  ASSERT_EQ(questions.size(), 4 * (648 + 327));
  for (size_t i = 0; i < questions.size(); ++i) {
    const auto& [golden_case, reduction] = questions[i];
    grpc::ClientContext context;
    v1::EvaluateResponse response;
    const grpc::Status status = stub_->Evaluate(&context, RequestFor(*golden_case, reduction, i), &response);
    ASSERT_TRUE(status.ok()) << golden_case->name << ": " << status.error_message();
    EXPECT_EQ(response.request_id(), i);
    ExpectRight(*golden_case, reduction, response);
  }
}

TEST_F(GoldenOverGrpc, EveryShortCaseIsRightInOneBatchWithAllOthers) {
  const std::vector<Question> questions = Questions(5000);
  v1::EvaluateBatchRequest request;
  for (size_t i = 0; i < questions.size(); ++i) {
    *request.add_requests() = RequestFor(*questions[i].golden_case, questions[i].reduction, i);
  }
  grpc::ClientContext context;
  v1::EvaluateBatchResponse response;
  const grpc::Status status = stub_->EvaluateBatch(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.results_size(), static_cast<int>(questions.size()));
  for (size_t i = 0; i < questions.size(); ++i) {
    const v1::EvaluateResult& result = response.results(static_cast<int>(i));
    ASSERT_TRUE(result.has_response()) << result.error().message();
    EXPECT_EQ(result.request_id(), i);
    EXPECT_EQ(result.response().request_id(), i);
    ExpectRight(*questions[i].golden_case, questions[i].reduction, result.response());
  }
}

TEST_F(GoldenOverGrpc, EveryCaseIsRightOnAStream) {
  const std::vector<Question> questions = Questions(INT64_MAX);
  grpc::ClientContext context;
  const auto stream = stub_->EvaluateStream(&context);
  std::thread writer([&] {
    for (size_t i = 0; i < questions.size(); ++i) {
      if (!stream->Write(RequestFor(*questions[i].golden_case, questions[i].reduction, i))) break;
    }
    stream->WritesDone();
  });
  std::vector<bool> answered(questions.size());
  for (v1::EvaluateResult result; stream->Read(&result);) {
    const size_t i = result.request_id();
    if (i >= questions.size() || answered[i] || !result.has_response()) {
      ADD_FAILURE() << "an unexpected result: " << result.ShortDebugString().substr(0, 300);
      continue;
    }
    answered[i] = true;
    ExpectRight(*questions[i].golden_case, questions[i].reduction, result.response());
  }
  writer.join();
  const grpc::Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(std::count(answered.begin(), answered.end(), false), 0);
}

TEST_F(GoldenOverGrpc, TheCountersBalanceInTheEnd) { EXPECT_TRUE(server_->WaitUntilBalanced()); }

}  // namespace
}  // namespace kldiv::integration
