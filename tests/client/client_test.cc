#include "client/include/kldiv/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/client/fake_server.h"

namespace kldiv {
namespace {

using client_testing::FakeServer;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kMiB = int64_t{1} << 20;

std::unique_ptr<Client> ClientOf(const FakeServer& server) {
  absl::StatusOr<std::unique_ptr<Client>> client = Client::Create({.server = server.address()});
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

// A pair of one-dimensional FP32 tensors and the memory for it.
struct OwnedPair {
  explicit OwnedPair(int64_t elements, float value = 0.5F)
      : shape{elements}, input(elements, -value), target(elements, value) {}

  Pair pair() const { return {.input = {input, shape}, .target = {target, shape}}; }

  std::vector<int64_t> shape;
  std::vector<float> input, target;
};

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(Client, SendsAPairAsItIsAndReturnsTheLoss) {
  v1::EvaluateRequest seen;
  FakeServer server;
  server.evaluate = [&](grpc::ServerContext&, const v1::EvaluateRequest& request,
                        v1::EvaluateResponse& response) {
    seen = request;
    response.set_loss(0.25);
    response.set_element_count(6);
    v1::Timing& timing = *response.mutable_timing();
    timing.set_queue_ns(1);
    timing.set_compute_ns(2);
    timing.set_total_ns(3);
    timing.set_batch_pairs(4);
    return grpc::Status::OK;
  };
  const float input[] = {-1, -2, -3, -4, -5, -6};
  const double target[] = {.1, .2, .3, .4, .5, .6};
  const int64_t shape[] = {2, 3};
  const absl::StatusOr<Evaluation> answer =
      ClientOf(server)->Evaluate({.input = {std::span<const float>(input), shape},
                                  .target = {std::span<const double>(target), shape},
                                  .reduction = Reduction::kSum,
                                  .log_target = true,
                                  .zero_target = ZeroTarget::kSkip,
                                  .timeout = std::chrono::nanoseconds(77),
                                  .want_timing = true});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->loss, 0.25);
  EXPECT_FALSE(answer->pointwise.has_value());
  EXPECT_EQ(answer->element_count, 6);
  ASSERT_TRUE(answer->timing.has_value());
  EXPECT_EQ(answer->timing->queue.count(), 1);
  EXPECT_EQ(answer->timing->compute.count(), 2);
  EXPECT_EQ(answer->timing->total.count(), 3);
  EXPECT_EQ(answer->timing->batch_pairs, 4);

  EXPECT_EQ(seen.input().dtype(), v1::DATA_TYPE_FP32);
  EXPECT_EQ(seen.target().dtype(), v1::DATA_TYPE_FP64);
  EXPECT_THAT(seen.input().shape(), ElementsAre(2, 3));
  EXPECT_EQ(seen.input().data(), std::string(reinterpret_cast<const char*>(input), sizeof input));
  EXPECT_EQ(seen.target().data(), std::string(reinterpret_cast<const char*>(target), sizeof target));
  EXPECT_EQ(seen.reduction(), v1::REDUCTION_SUM);
  EXPECT_TRUE(seen.log_target());
  EXPECT_EQ(seen.zero_target(), v1::ZERO_TARGET_SKIP);
  EXPECT_EQ(seen.timeout_ns(), 77);
  EXPECT_TRUE(seen.want_timing());
}

TEST(Client, ReturnsALossThatIsNotFinite) {
  FakeServer server;
  server.evaluate = [](grpc::ServerContext&, const v1::EvaluateRequest&, v1::EvaluateResponse& response) {
    response.set_loss(-std::numeric_limits<double>::infinity());
    return grpc::Status::OK;
  };
  const absl::StatusOr<Evaluation> answer = ClientOf(server)->Evaluate(OwnedPair(1).pair());
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->loss, -std::numeric_limits<double>::infinity());
}

TEST(Client, ReceivesPointwiseLossesFarLargerThanGrpcsDefaultLimit) {
  FakeServer server;
  server.get_server_info = [](v1::GetServerInfoResponse& info) {
    info.set_max_message_bytes(64 * kMiB);
    return grpc::Status::OK;
  };
  server.evaluate = [](grpc::ServerContext&, const v1::EvaluateRequest& request,
                       v1::EvaluateResponse& response) {
    response.mutable_pointwise()->CopyFrom(request.target());
    return grpc::Status::OK;
  };
  OwnedPair owned(5 * kMiB);
  for (size_t i = 0; i < owned.target.size(); ++i) owned.target[i] = static_cast<float>(i);
  Pair pair = owned.pair();
  pair.reduction = Reduction::kNone;
  const absl::StatusOr<Evaluation> answer = ClientOf(server)->Evaluate(pair);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_FALSE(answer->loss.has_value());
  ASSERT_TRUE(answer->pointwise.has_value());
  EXPECT_EQ(answer->pointwise->dtype, DType::kFp32);
  EXPECT_THAT(answer->pointwise->shape, ElementsAre(5 * kMiB));
  const std::span<const float> values = answer->pointwise->values<float>();
  ASSERT_EQ(values.size(), owned.target.size());
  EXPECT_EQ(std::memcmp(values.data(), owned.target.data(), values.size_bytes()), 0);
  EXPECT_TRUE(answer->pointwise->values<double>().empty());
}

TEST(Client, PassesOnTheServersStatusAndItsPause) {
  FakeServer server;
  server.evaluate = [](grpc::ServerContext& context, const v1::EvaluateRequest&, v1::EvaluateResponse&) {
    context.AddTrailingMetadata("grpc-retry-pushback-ms", "125");
    return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full");
  };
  const absl::Status status = ClientOf(server)->Evaluate(OwnedPair(10).pair()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Message(status), "the queue is full");
  EXPECT_EQ(RetryAfter(status), std::chrono::milliseconds(125));
  EXPECT_EQ(RetryAfter(absl::UnavailableError("")), std::nullopt);
}

TEST(Client, RefusesAnAnswerWithoutALoss) {
  FakeServer server;
  server.evaluate = [](grpc::ServerContext&, const v1::EvaluateRequest&, v1::EvaluateResponse&) {
    return grpc::Status::OK;
  };
  EXPECT_EQ(ClientOf(server)->Evaluate(OwnedPair(10).pair()).status().code(), absl::StatusCode::kInternal);
}

TEST(Client, GivesACallThirtySecondsUnlessToldOtherwise) {
  std::chrono::system_clock::time_point deadline;
  FakeServer server;
  server.evaluate = [&](grpc::ServerContext& context, const v1::EvaluateRequest&,
                        v1::EvaluateResponse& response) {
    deadline = context.deadline();
    response.set_loss(0);
    return grpc::Status::OK;
  };
  const auto client = ClientOf(server);
  const OwnedPair owned(1);
  const auto before = std::chrono::system_clock::now();
  ASSERT_TRUE(client->Evaluate(owned.pair()).ok());
  EXPECT_GT(deadline, before + std::chrono::seconds(29));
  EXPECT_LT(deadline, std::chrono::system_clock::now() + std::chrono::seconds(31));
  ASSERT_TRUE(client->Evaluate(owned.pair(), {.timeout = std::chrono::minutes(10)}).ok());
  EXPECT_GT(deadline, before + std::chrono::minutes(9));
}

TEST(Client, EndsACallAtItsDeadline) {
  absl::Notification over;
  FakeServer server;
  server.evaluate = [&](grpc::ServerContext&, const v1::EvaluateRequest&, v1::EvaluateResponse&) {
    over.WaitForNotification();
    return grpc::Status::OK;
  };
  const absl::Status status =
      ClientOf(server)->Evaluate(OwnedPair(1).pair(), {.timeout = std::chrono::milliseconds(50)}).status();
  over.Notify();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(Client, SaysThatAServerCannotBeReached) {
  const auto client = Client::Create({.server = "unix:/nowhere/kldiv.sock"});
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ((*client)->Evaluate(OwnedPair(1).pair()).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ((*client)->GetServerInfo().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ((*client)->CheckHealth().status().code(), absl::StatusCode::kUnavailable);
}

TEST(Client, RefusesOptionsThatCannotBe) {
  const absl::Status no_server = Client::Create({.server = ""}).status();
  EXPECT_EQ(no_server.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(no_server), HasSubstr("ClientOptions.server"));
  const absl::Status no_time = Client::Create({.default_timeout = std::chrono::seconds(-1)}).status();
  EXPECT_EQ(no_time.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(no_time), HasSubstr("ClientOptions.default_timeout is -1000000000 ns"));
  FakeServer server;
  const absl::Status no_call_time =
      ClientOf(server)->Evaluate(OwnedPair(1).pair(), {.timeout = std::chrono::seconds(0)}).status();
  EXPECT_EQ(no_call_time.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(no_call_time), HasSubstr("CallOptions.timeout is 0 ns"));
}

// Counts what it is asked; its limit is 2 MiB.
class LimitedServer : public FakeServer {
 public:
  LimitedServer() {
    get_server_info = [this](v1::GetServerInfoResponse& info) {
      ++infos;
      info.set_max_message_bytes(2 * kMiB);
      return grpc::Status::OK;
    };
    evaluate = [this](grpc::ServerContext&, const v1::EvaluateRequest&, v1::EvaluateResponse& response) {
      ++evaluations;
      response.set_loss(1);
      return grpc::Status::OK;
    };
  }

  std::atomic<int> infos = 0;
  std::atomic<int> evaluations = 0;
};

TEST(Client, RefusesAMessageOverTheServersLimitAndAsksForTheLimitOnce) {
  LimitedServer server;
  const auto client = ClientOf(server);
  ASSERT_TRUE(client->Evaluate(OwnedPair(1000).pair()).ok());
  EXPECT_EQ(server.infos, 0);  // A small message is under any limit.

  const OwnedPair large(kMiB / 2);
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = client->Evaluate(large.pair()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Message(status), AllOf(HasSubstr(std::to_string(4 * kMiB / 1000)), HasSubstr("2097152"),
                                       HasSubstr("--max_message_bytes")));
  }
  EXPECT_TRUE(client->Evaluate(OwnedPair(kMiB / 5).pair()).ok());
  EXPECT_EQ(server.infos, 1);
  EXPECT_EQ(server.evaluations, 2);
}

TEST(Client, RefusesAnAsynchronousMessageOverTheServersLimit) {
  LimitedServer server;
  const auto client = ClientOf(server);
  const OwnedPair large(kMiB / 2);
  const OwnedPair medium(kMiB / 5);
  EXPECT_EQ(client->EvaluateFuture(large.pair()).get().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client->EvaluateFuture(large.pair()).get().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(client->EvaluateFuture(medium.pair()).get().ok());
  EXPECT_EQ(server.infos, 1);
  EXPECT_EQ(server.evaluations, 1);
}

TEST(Client, TellsServerFacts) {
  FakeServer server;
  server.get_server_info = [](v1::GetServerInfoResponse& info) {
    info.set_version("1.2.3");
    info.set_backend("cpu");
    info.add_devices("AVX-512, 2 threads");
    info.set_max_message_bytes(1);
    info.set_max_queue_bytes(2);
    info.set_numerics_version(3);
    info.set_max_pairs_per_message(4);
    info.set_max_dimensions(5);
    info.set_max_in_flight_per_stream(6);
    info.add_features("a");
    return grpc::Status::OK;
  };
  const absl::StatusOr<ServerInfo> info = ClientOf(server)->GetServerInfo();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->version, "1.2.3");
  EXPECT_EQ(info->backend, "cpu");
  EXPECT_THAT(info->devices, ElementsAre("AVX-512, 2 threads"));
  EXPECT_EQ(info->max_message_bytes, 1);
  EXPECT_EQ(info->max_queue_bytes, 2);
  EXPECT_EQ(info->numerics_version, 3U);
  EXPECT_EQ(info->max_pairs_per_message, 4);
  EXPECT_EQ(info->max_dimensions, 5);
  EXPECT_EQ(info->max_in_flight_per_stream, 6);
  EXPECT_THAT(info->features, ElementsAre("a"));
}

TEST(Client, TellsHealth) {
  grpc::EnableDefaultHealthCheckService(true);
  FakeServer server;
  const auto client = ClientOf(server);
  const absl::StatusOr<Health> serving = client->CheckHealth();
  ASSERT_TRUE(serving.ok()) << serving.status();
  EXPECT_EQ(*serving, Health::kServing);
  server.SetServing(false);
  const absl::StatusOr<Health> not_serving = client->CheckHealth();
  ASSERT_TRUE(not_serving.ok()) << not_serving.status();
  EXPECT_EQ(*not_serving, Health::kNotServing);
  grpc::EnableDefaultHealthCheckService(false);
}

TEST(Client, EvaluatesABatchWithAFaultyPair) {
  FakeServer server;
  server.evaluate_batch = [](grpc::ServerContext&, const v1::EvaluateBatchRequest& request,
                             v1::EvaluateBatchResponse& response) {
    for (const v1::EvaluateRequest& pair : request.requests()) {
      v1::EvaluateResult& result = *response.add_results();
      if (pair.input().shape(0) == 2) {
        result.mutable_error()->set_code(3);
        result.mutable_error()->set_message("input.shape");
        result.mutable_error()->set_retry_after_ms(5);
      } else {
        result.mutable_response()->set_loss(static_cast<double>(pair.input().shape(0)));
      }
    }
    return grpc::Status::OK;
  };
  const OwnedPair one(1), two(2), three(3);
  const Pair pairs[] = {one.pair(), two.pair(), three.pair()};
  const auto results = ClientOf(server)->EvaluateBatch(pairs);
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->size(), 3U);
  EXPECT_EQ((*results)[0].value().loss, 1.0);
  EXPECT_EQ((*results)[1].status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Message((*results)[1].status()), "input.shape");
  EXPECT_EQ(RetryAfter((*results)[1].status()), std::chrono::milliseconds(5));
  EXPECT_EQ((*results)[2].value().loss, 3.0);
}

TEST(Client, RefusesABatchAnswerOfAnotherSize) {
  FakeServer server;
  server.evaluate_batch = [](grpc::ServerContext&, const v1::EvaluateBatchRequest&,
                             v1::EvaluateBatchResponse&) { return grpc::Status::OK; };
  const OwnedPair owned(1);
  const Pair pairs[] = {owned.pair()};
  const auto results = ClientOf(server)->EvaluateBatch(pairs);
  EXPECT_EQ(results.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(Message(results.status()), HasSubstr("0 results for 1 pairs"));
}

using BatchResults = absl::StatusOr<std::vector<absl::StatusOr<Evaluation>>>;

std::future<BatchResults> EvaluateBatchFuture(Client& client, std::span<const Pair> pairs,
                                              const CallOptions& options = {}) {
  auto promise = std::make_shared<std::promise<BatchResults>>();
  std::future<BatchResults> future = promise->get_future();
  client.EvaluateBatchAsync(pairs, options,
                            [promise](BatchResults results) { promise->set_value(std::move(results)); });
  return future;
}

TEST(Client, EvaluatesABatchWithoutWaiting) {
  FakeServer server;
  server.evaluate_batch = [](grpc::ServerContext&, const v1::EvaluateBatchRequest& request,
                             v1::EvaluateBatchResponse& response) {
    for (const v1::EvaluateRequest& pair : request.requests()) {
      v1::EvaluateResult& result = *response.add_results();
      if (pair.input().shape(0) == 2) {
        result.mutable_error()->set_code(3);
      } else {
        result.mutable_response()->set_loss(static_cast<double>(pair.input().shape(0)));
      }
    }
    return grpc::Status::OK;
  };
  const auto client = ClientOf(server);
  const OwnedPair one(1), two(2), three(3);
  std::future<BatchResults> future;
  {
    const std::vector<Pair> pairs = {one.pair(), two.pair(), three.pair()};  // gone before the answer
    future = EvaluateBatchFuture(*client, pairs);
  }
  const BatchResults results = future.get();
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->size(), 3U);
  EXPECT_EQ((*results)[0].value().loss, 1.0);
  EXPECT_EQ((*results)[1].status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*results)[2].value().loss, 3.0);
}

TEST(Client, PassesOnTheStatusOfABatchThatNobodyWaitsFor) {
  FakeServer server;
  server.evaluate_batch = [](grpc::ServerContext&, const v1::EvaluateBatchRequest& request,
                             v1::EvaluateBatchResponse&) {
    if (request.requests_size() == 1) return grpc::Status::OK;  // without the result that it owes
    return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full");
  };
  const auto client = ClientOf(server);
  const OwnedPair owned(1);
  const Pair pairs[] = {owned.pair(), owned.pair()};
  EXPECT_EQ(EvaluateBatchFuture(*client, pairs).get().status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(EvaluateBatchFuture(*client, std::span(pairs, 1)).get().status().code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ(EvaluateBatchFuture(*client, pairs, {.timeout = std::chrono::seconds(-1)}).get().status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Client, RefusesAnAsynchronousBatchOverTheServersLimit) {
  LimitedServer server;
  const auto client = ClientOf(server);
  const OwnedPair half(kMiB / 4);
  const Pair pairs[] = {half.pair(), half.pair()};
  EXPECT_EQ(EvaluateBatchFuture(*client, pairs).get().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(server.infos, 1);
}

TEST(Client, CancelsOutstandingCallsWhenItGoesAndCallsBack) {
  absl::Notification arrived, over;
  FakeServer server;
  server.evaluate = [&](grpc::ServerContext&, const v1::EvaluateRequest&, v1::EvaluateResponse&) {
    arrived.Notify();
    over.WaitForNotification();
    return grpc::Status::OK;
  };
  const OwnedPair owned(1000);
  auto client = ClientOf(server);
  std::future<absl::StatusOr<Evaluation>> future = client->EvaluateFuture(owned.pair());
  arrived.WaitForNotification();
  client.reset();
  ASSERT_EQ(future.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  EXPECT_EQ(future.get().status().code(), absl::StatusCode::kCancelled);
  over.Notify();
}

TEST(Client, GivesEachOfManyThreadsItsOwnAnswers) {
  FakeServer server;
  server.evaluate = [](grpc::ServerContext&, const v1::EvaluateRequest& request,
                       v1::EvaluateResponse& response) {
    float first = 0;
    std::memcpy(&first, request.target().data().data(), sizeof first);
    response.set_loss(first);
    return grpc::Status::OK;
  };
  const auto client = ClientOf(server);
  std::atomic<int> wrong = 0, called_back = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const auto value = static_cast<float>(t * 1000 + i);
        const OwnedPair owned(100, value);
        const auto answer = client->Evaluate(owned.pair());
        if (!answer.ok() || answer->loss != value) ++wrong;
        const auto later = client->EvaluateFuture(owned.pair()).get();
        if (!later.ok() || later->loss != value) ++wrong;
        ++called_back;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(called_back, 400);
}

TEST(FromLegacy, IsWhatPyTorchMakesOfTheArguments) {
  EXPECT_EQ(FromLegacy(std::nullopt, std::nullopt), Reduction::kMean);
  EXPECT_EQ(FromLegacy(true, std::nullopt), Reduction::kMean);
  EXPECT_EQ(FromLegacy(std::nullopt, true), Reduction::kMean);
  EXPECT_EQ(FromLegacy(true, true), Reduction::kMean);
  EXPECT_EQ(FromLegacy(false, std::nullopt), Reduction::kSum);
  EXPECT_EQ(FromLegacy(false, true), Reduction::kSum);
  EXPECT_EQ(FromLegacy(std::nullopt, false), Reduction::kNone);
  EXPECT_EQ(FromLegacy(true, false), Reduction::kNone);
  EXPECT_EQ(FromLegacy(false, false), Reduction::kNone);
}

}  // namespace
}  // namespace kldiv
