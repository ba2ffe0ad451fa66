#include "client/retry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "client/include/kldiv/client.h"
#include "tests/client/fake_server.h"

namespace kldiv {
namespace {

using client_testing::FakeServer;

// A server that fails its first `failures` calls with one status, after having read them whole, and answers
// those that follow.
class Failing {
 public:
  Failing(int failures, grpc::StatusCode code, const std::string& pushback_ms = "1") {
    server_.evaluate = [=, this](grpc::ServerContext& context, const v1::EvaluateRequest& request,
                                 v1::EvaluateResponse& response) {
      bytes_of_last_ = static_cast<int64_t>(request.target().data().size());
      if (const int attempt = ++attempts_; attempt <= failures) {
        if (!pushback_ms.empty()) context.AddTrailingMetadata("grpc-retry-pushback-ms", pushback_ms);
        return grpc::Status(code, "attempt " + std::to_string(attempt));
      }
      response.set_loss(0.25);
      return grpc::Status::OK;
    };
    server_.get_server_info = [](v1::GetServerInfoResponse& info) {
      info.set_max_message_bytes(int64_t{1} << 30);
      return grpc::Status::OK;
    };
  }

  std::unique_ptr<Client> Connect(bool retry = true) const {
    auto client = Client::Create({.server = server_.address(), .retry = retry});
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  int attempts() const { return attempts_; }
  int64_t bytes_of_last() const { return bytes_of_last_; }

 private:
  std::atomic<int> attempts_ = 0;
  std::atomic<int64_t> bytes_of_last_ = 0;
  FakeServer server_;  // the last: its threads use what is above
};

struct OwnedPair {
  explicit OwnedPair(int64_t elements) : shape{elements}, values(static_cast<size_t>(elements), 0.5F) {}
  Pair pair() const { return {.input = {values, shape}, .target = {values, shape}}; }

  std::vector<int64_t> shape;
  std::vector<float> values;
};

class RetryableCode : public testing::TestWithParam<grpc::StatusCode> {};

TEST_P(RetryableCode, IsNotSeenByACallerWhoseSecondAttemptIsAnswered) {
  const Failing server(1, GetParam());
  const absl::StatusOr<Evaluation> answer = server.Connect()->Evaluate(OwnedPair(3).pair());
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->loss, 0.25);
  EXPECT_EQ(server.attempts(), 2);
}

// gRPC forgets, unless told otherwise, what is over 256 KiB.
TEST_P(RetryableCode, LetsALargeMessageBeSentAgainWhole) {
  constexpr int64_t kElements = 2'000'000;
  const Failing server(2, GetParam());
  const absl::StatusOr<Evaluation> answer = server.Connect()->Evaluate(OwnedPair(kElements).pair());
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(server.attempts(), 3);
  EXPECT_EQ(server.bytes_of_last(), kElements * int64_t{sizeof(float)});
}

TEST_P(RetryableCode, IsToldAsTheLastOfFiveAttempts) {
  const Failing server(100, GetParam());
  const absl::Status status = server.Connect()->Evaluate(OwnedPair(3).pair()).status();
  EXPECT_EQ(static_cast<int>(status.code()), static_cast<int>(GetParam()));
  EXPECT_EQ(status.message(), "attempt 5");
  EXPECT_EQ(server.attempts(), 5);
}

TEST_P(RetryableCode, IsToldAtOnceWhereRetriesAreOff) {
  const Failing server(100, GetParam());
  const absl::Status status = server.Connect(/*retry=*/false)->Evaluate(OwnedPair(3).pair()).status();
  EXPECT_EQ(static_cast<int>(status.code()), static_cast<int>(GetParam()));
  EXPECT_EQ(server.attempts(), 1);
}

INSTANTIATE_TEST_SUITE_P(Retry, RetryableCode,
                         testing::Values(grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::RESOURCE_EXHAUSTED,
                                         grpc::StatusCode::CANCELLED),
                         [](const auto& tested) {
                           switch (tested.param) {
                             case grpc::StatusCode::UNAVAILABLE:
                               return "Unavailable";
                             case grpc::StatusCode::RESOURCE_EXHAUSTED:
                               return "ResourceExhausted";
                             default:
                               return "Cancelled";
                           }
                         });

TEST(Retry, IsForNoOtherCode) {
  for (const auto code :
       {grpc::StatusCode::INVALID_ARGUMENT, grpc::StatusCode::INTERNAL, grpc::StatusCode::UNAUTHENTICATED,
        grpc::StatusCode::DEADLINE_EXCEEDED, grpc::StatusCode::DATA_LOSS}) {
    const Failing server(1, code);
    EXPECT_FALSE(server.Connect()->Evaluate(OwnedPair(3).pair()).ok());
    EXPECT_EQ(server.attempts(), 1) << code;
  }
}

TEST(Retry, IsForCallsThatNobodyWaitsForToo) {
  const Failing server(3, grpc::StatusCode::RESOURCE_EXHAUSTED);
  const auto client = server.Connect();
  const OwnedPair owned(3);
  const absl::StatusOr<Evaluation> answer = client->EvaluateFuture(owned.pair()).get();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(server.attempts(), 4);
}

// A server that asks for no retry is not tried again (gRFC A6: what is no number of milliseconds).
TEST(Retry, IsNotMadeWhereTheServerAsksForNone) {
  const Failing server(1, grpc::StatusCode::RESOURCE_EXHAUSTED, "-1");
  EXPECT_FALSE(server.Connect()->Evaluate(OwnedPair(3).pair()).ok());
  EXPECT_EQ(server.attempts(), 1);
}

TEST(Retry, EndsWithTheCallsDeadline) {
  const Failing server(1, grpc::StatusCode::RESOURCE_EXHAUSTED, "3600000");
  const absl::Status status =
      server.Connect()->Evaluate(OwnedPair(3).pair(), {.timeout = std::chrono::milliseconds(100)}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(server.attempts(), 1);
}

// With half of the budget of 1000 gone to failures the client no longer multiplies the load.
TEST(Retry, StopsWhileTooMuchFails) {
  const Failing server(1'000'000, grpc::StatusCode::UNAVAILABLE);
  const auto client = server.Connect();
  const OwnedPair owned(3);
  for (int i = 0; i < 300; ++i) EXPECT_TRUE(absl::IsUnavailable(client->Evaluate(owned.pair()).status()));
  EXPECT_LT(server.attempts(), 5 * 100 + 200 + 10);
  EXPECT_GT(server.attempts(), 5 * 100 + 200 - 10);
}

TEST(Retry, PauseIsTheServersElseGrowsToASecond) {
  const absl::Status none = absl::UnavailableError("");
  std::chrono::nanoseconds longest{0};
  for (int i = 0; i < 1000; ++i) {
    EXPECT_LE(internal::PauseBeforeRetry(none, 1), std::chrono::milliseconds(50));
    longest = std::max(longest, internal::PauseBeforeRetry(none, 100));
  }
  EXPECT_LE(longest, std::chrono::seconds(1));
  EXPECT_GT(longest, std::chrono::milliseconds(500));
}

}  // namespace
}  // namespace kldiv
