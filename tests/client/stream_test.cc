#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/include/kldiv/client.h"
#include "tests/client/fake_server.h"
#include "tests/client/small_pair.h"

namespace kldiv {
namespace {

using client_testing::FakeServer;
using client_testing::SmallPair;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

v1::EvaluateResult Answer(const v1::EvaluateRequest& request) {
  v1::EvaluateResult result;
  result.set_request_id(request.request_id());
  result.mutable_response()->set_request_id(request.request_id());
  result.mutable_response()->set_loss(static_cast<double>(request.timeout_ns()));
  return result;
}

class StreamTest : public ::testing::Test {
 protected:
  // The stream's client, for which the server's functions have been set.
  std::unique_ptr<Stream> Open(ClientOptions options = {}) {
    options.server = server_.address();
    client_ = *Client::Create(std::move(options));
    return *client_->OpenStream();
  }

  static void ExpectLoss(const absl::StatusOr<std::optional<StreamResult>>& result, uint64_t request_id) {
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_TRUE(result->has_value());
    EXPECT_EQ((*result)->request_id, request_id);
    EXPECT_TRUE((*result)->evaluation.ok()) << (*result)->evaluation.status();
  }

  // What the server's functions use, and outlives them.
  absl::Notification arrived_, ended_, over_;
  std::atomic<int> calls_ = 0;

  FakeServer server_;
  std::unique_ptr<Client> client_;
};

TEST_F(StreamTest, AnswersPairsInAnyOrderUnderTheCallersNumbers) {
  server_.evaluate_stream = [](grpc::ServerContext&, FakeServer::ServerStream& stream) {
    std::vector<v1::EvaluateRequest> requests;
    for (v1::EvaluateRequest request; stream.Read(&request);) requests.push_back(request);
    for (auto request = requests.rbegin(); request != requests.rend(); ++request)
      stream.Write(Answer(*request));
    return grpc::Status::OK;
  };
  const auto stream = Open();
  for (const uint64_t id : {7, 7, 9}) {
    Pair pair = SmallPair();
    pair.timeout = std::chrono::nanoseconds(id * 10);
    ASSERT_TRUE(stream->Write(pair, id).ok());
  }
  ASSERT_TRUE(stream->WritesDone().ok());
  std::vector<uint64_t> ids;
  while (true) {
    const auto result = stream->Read();
    ASSERT_TRUE(result.ok()) << result.status();
    if (!result->has_value()) break;
    ids.push_back((*result)->request_id);
    EXPECT_EQ((*result)->evaluation.value().loss, static_cast<double>((*result)->request_id * 10));
  }
  EXPECT_THAT(ids, UnorderedElementsAre(7, 7, 9));
  EXPECT_FALSE((*stream->Read()).has_value());  // Still at the end.
}

TEST_F(StreamTest, EndsAtOnceWithoutPairs) {
  const auto stream = Open();
  ASSERT_TRUE(stream->WritesDone().ok());
  ASSERT_TRUE(stream->WritesDone().ok());
  const auto result = stream->Read();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->has_value());
  EXPECT_EQ(stream->Write(SmallPair(), 1).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(StreamTest, GivesAPairTheClientsDefaultDeadline) {
  server_.evaluate_stream = [](grpc::ServerContext&, FakeServer::ServerStream& stream) {
    for (v1::EvaluateRequest request; stream.Read(&request);) stream.Write(Answer(request));
    return grpc::Status::OK;
  };
  const auto stream = Open();
  ASSERT_TRUE(stream->Write(SmallPair(), 1).ok());
  const auto result = stream->Read();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ((*result)->evaluation.value().loss, 30e9);
}

TEST_F(StreamTest, HandsOverAPairsOwnErrorAndGoesOn) {
  server_.evaluate_stream = [](grpc::ServerContext&, FakeServer::ServerStream& stream) {
    for (v1::EvaluateRequest request; stream.Read(&request);) {
      v1::EvaluateResult result = Answer(request);
      if (request.request_id() == 1) {
        result.mutable_error()->set_code(3);
        result.mutable_error()->set_message("input.shape");
      }
      stream.Write(result);
    }
    return grpc::Status::OK;
  };
  const auto stream = Open();
  ASSERT_TRUE(stream->Write(SmallPair(), 1).ok());
  const auto refused = stream->Read();
  ASSERT_TRUE(refused.ok()) << refused.status();
  EXPECT_EQ((*refused)->evaluation.status().code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(stream->Write(SmallPair(), 2).ok());
  const auto accepted = stream->Read();
  ASSERT_TRUE(accepted.ok()) << accepted.status();
  EXPECT_TRUE((*accepted)->evaluation.ok());
}

TEST_F(StreamTest, EndsWithTheServersStatus) {
  server_.evaluate_stream = [](grpc::ServerContext&, FakeServer::ServerStream& stream) {
    v1::EvaluateRequest request;
    stream.Read(&request);
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "cannot be decoded");
  };
  const auto stream = Open();
  ASSERT_TRUE(stream->Write(SmallPair(), 1).ok());
  const auto result = stream->Read();
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(stream->Write(SmallPair(), 2).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(stream->Read().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(StreamTest, DoesNotTakeAnEarlyEndForAnAnswer) {
  server_.evaluate_stream = [](grpc::ServerContext&, FakeServer::ServerStream& stream) {
    v1::EvaluateRequest request;
    stream.Read(&request);
    return grpc::Status::OK;
  };
  const auto stream = Open();
  ASSERT_TRUE(stream->Write(SmallPair(), 1).ok());
  EXPECT_EQ(stream->Read().status().code(), absl::StatusCode::kInternal);
}

TEST_F(StreamTest, EndsWhenAnAnswerBelongsToNoPair) {
  server_.evaluate_stream = [](grpc::ServerContext&, FakeServer::ServerStream& stream) {
    v1::EvaluateRequest request;
    stream.Read(&request);
    request.set_request_id(99);
    stream.Write(Answer(request));
    stream.Read(&request);  // Until the client goes.
    return grpc::Status::OK;
  };
  const auto stream = Open();
  ASSERT_TRUE(stream->Write(SmallPair(), 1).ok());
  const auto result = stream->Read();
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("request_id 99"));
  EXPECT_EQ(stream->Read().status().code(), absl::StatusCode::kInternal);
}

TEST_F(StreamTest, IsOpenedAgainAfterTheServerHasEndedItIdle) {
  server_.evaluate_stream = [this](grpc::ServerContext&, FakeServer::ServerStream& stream) {
    const int call = ++calls_;
    for (v1::EvaluateRequest request; stream.Read(&request);) {
      stream.Write(Answer(request));
      if (call == 1) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "idle");
    }
    return grpc::Status::OK;
  };
  const auto stream = Open();
  ASSERT_TRUE(stream->Write(SmallPair(), 1).ok());
  EXPECT_EQ((*stream->Read())->request_id, 1U);
  // A reader that waits meanwhile notices nothing.
  std::thread reader([&] { ExpectLoss(stream->Read(), 2); });
  ASSERT_TRUE(stream->Write(SmallPair(), 2).ok());
  reader.join();
}

// Accepts pairs on its first call and answers none.
auto LosingOnce(std::atomic<int>& calls, grpc::Status end) {
  return [&calls, end](grpc::ServerContext&, FakeServer::ServerStream& stream) {
    const bool first = ++calls == 1;
    for (v1::EvaluateRequest request; stream.Read(&request);) {
      if (first) return end;
      stream.Write(Answer(request));
    }
    return grpc::Status::OK;
  };
}

TEST_F(StreamTest, SendsAPairThatWasOnItsWayToAnIdleEndAgain) {
  server_.evaluate_stream = LosingOnce(calls_, {grpc::StatusCode::UNAVAILABLE, "idle"});
  const auto stream = Open({.retry = false});
  ASSERT_TRUE(stream->Write(SmallPair(), 5).ok());
  ExpectLoss(stream->Read(), 5);
}

TEST_F(StreamTest, SendsUnansweredPairsAgainWhenTheServerGoes) {
  for (const auto code :
       {grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::RESOURCE_EXHAUSTED, grpc::StatusCode::CANCELLED}) {
    calls_ = 0;
    server_.evaluate_stream = LosingOnce(calls_, {code, "draining"});
    const auto stream = Open();
    for (uint64_t id = 1; id <= 3; ++id) ASSERT_TRUE(stream->Write(SmallPair(), id).ok());
    ASSERT_TRUE(stream->WritesDone().ok());
    for (uint64_t id = 1; id <= 3; ++id) ExpectLoss(stream->Read(), id);
    const auto end = stream->Read();
    ASSERT_TRUE(end.ok()) << end.status();
    EXPECT_FALSE(end->has_value());
    EXPECT_EQ(calls_, 2);
  }
}

TEST_F(StreamTest, SendsAgainWhileNobodyReads) {
  server_.evaluate_stream = LosingOnce(calls_, {grpc::StatusCode::UNAVAILABLE, "draining"});
  const auto stream = Open();
  // Some of these find the first call over, and nothing but them can notice.
  for (uint64_t id = 1; id <= 200; ++id) ASSERT_TRUE(stream->Write(SmallPair(), id).ok());
  ASSERT_TRUE(stream->WritesDone().ok());
  for (uint64_t id = 1; id <= 200; ++id) ExpectLoss(stream->Read(), id);
}

TEST_F(StreamTest, TellsTheLastStatusAfterFiveAttemptsWithoutAnAnswer) {
  server_.evaluate_stream = [this](grpc::ServerContext&, FakeServer::ServerStream& stream) {
    v1::EvaluateRequest request;
    stream.Read(&request);
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, absl::StrCat("attempt ", ++calls_));
  };
  const auto stream = Open();
  ASSERT_TRUE(stream->Write(SmallPair(), 1).ok());
  const absl::Status end = stream->Read().status();
  EXPECT_EQ(end.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(end.message(), "attempt 5");
  EXPECT_EQ(stream->Write(SmallPair(), 2).message(), "attempt 5");
}

TEST_F(StreamTest, EndsWithTheServersStatusWhereItMayNotTryAgain) {
  server_.evaluate_stream = LosingOnce(calls_, {grpc::StatusCode::UNAVAILABLE, "draining"});
  const auto stream = Open({.retry = false});
  ASSERT_TRUE(stream->Write(SmallPair(), 1).ok());
  EXPECT_EQ(stream->Read().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(calls_, 1);
}

TEST_F(StreamTest, DoesNotSendAPairAgainWhoseTimeIsOver) {
  server_.evaluate_stream = LosingOnce(calls_, {grpc::StatusCode::UNAVAILABLE, "draining"});
  const auto stream = Open();
  Pair pair = SmallPair();
  pair.timeout = std::chrono::nanoseconds(1);
  ASSERT_TRUE(stream->Write(pair, 1).ok());
  const auto result = stream->Read();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ((*result)->request_id, 1U);
  EXPECT_EQ((*result)->evaluation.status().code(), absl::StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(stream->Write(SmallPair(), 2).ok());
  ExpectLoss(stream->Read(), 2);
}

TEST_F(StreamTest, CanBeDestroyedWhileItWaitsToTryAgain) {
  server_.evaluate_stream = [](grpc::ServerContext& context, FakeServer::ServerStream&) {
    context.AddTrailingMetadata("grpc-retry-pushback-ms", "3600000");
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "come back in an hour");
  };
  auto stream = Open({.default_timeout = std::chrono::hours(1)});
  // More than any window: the write ends with the call.
  const std::vector<float> values(100'000, 0.5F);
  const int64_t shape[] = {static_cast<int64_t>(values.size())};
  const Pair pair = {.input = {values, shape}, .target = {values, shape}};
  ASSERT_TRUE(stream->Write(pair, 1).ok());
  stream.reset();
}

TEST_F(StreamTest, CancelsItsCallWhenItIsDestroyed) {
  server_.evaluate_stream = [this](grpc::ServerContext& context, FakeServer::ServerStream& stream) {
    v1::EvaluateRequest request;
    stream.Read(&request);
    arrived_.Notify();
    EXPECT_FALSE(stream.Read(&request));
    EXPECT_TRUE(context.IsCancelled());
    ended_.Notify();
    return grpc::Status::OK;
  };
  auto stream = Open();
  ASSERT_TRUE(stream->Write(SmallPair(), 1).ok());
  arrived_.WaitForNotification();
  stream.reset();
  EXPECT_TRUE(ended_.WaitForNotificationWithTimeout(absl::Seconds(60)));
}

TEST_F(StreamTest, OutlivesItsClient) {
  server_.evaluate_stream = [](grpc::ServerContext&, FakeServer::ServerStream& stream) {
    for (v1::EvaluateRequest request; stream.Read(&request);) stream.Write(Answer(request));
    return grpc::Status::OK;
  };
  const auto stream = Open();
  client_.reset();
  ASSERT_TRUE(stream->Write(SmallPair(), 1).ok());
  EXPECT_TRUE((*stream->Read())->evaluation.ok());
}

TEST_F(StreamTest, CarriesManyPairsFromAWriterToAReader) {
  server_.evaluate_stream = [](grpc::ServerContext&, FakeServer::ServerStream& stream) {
    for (v1::EvaluateRequest request; stream.Read(&request);) stream.Write(Answer(request));
    return grpc::Status::OK;
  };
  constexpr uint64_t kPairs = 5000;
  const auto stream = Open();
  std::thread writer([&] {
    for (uint64_t id = 1; id <= kPairs; ++id) ASSERT_TRUE(stream->Write(SmallPair(), id).ok());
    ASSERT_TRUE(stream->WritesDone().ok());
  });
  std::vector<bool> seen(kPairs + 1);
  uint64_t results = 0;
  while (true) {
    const auto result = stream->Read();
    ASSERT_TRUE(result.ok()) << result.status();
    if (!result->has_value()) break;
    EXPECT_FALSE(seen[(*result)->request_id]);
    seen[(*result)->request_id] = true;
    ++results;
  }
  writer.join();
  EXPECT_EQ(results, kPairs);
}

TEST_F(StreamTest, EndsAtItsDeadline) {
  server_.evaluate_stream = [this](grpc::ServerContext&, FakeServer::ServerStream&) {
    over_.WaitForNotification();
    return grpc::Status::OK;
  };
  Open();
  const auto stream = *client_->OpenStream({.timeout = std::chrono::milliseconds(50)});
  ASSERT_TRUE(stream->Write(SmallPair(), 1).ok());
  EXPECT_EQ(stream->Read().status().code(), absl::StatusCode::kDeadlineExceeded);
  over_.Notify();
}

}  // namespace
}  // namespace kldiv
