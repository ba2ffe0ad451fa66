// Clients that die, cancel, stall or ask for too much harm nobody but themselves.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kldiv/v1/kldiv.grpc.pb.h"
#include "tests/integration/http2_client.h"
#include "tests/integration/requests.h"
#include "tests/integration/server_process.h"

namespace kldiv::integration {
namespace {

using ::testing::HasSubstr;

constexpr char kEvaluate[] = "/kldiv.v1.KlDivergence/Evaluate";
constexpr char kEvaluateStream[] = "/kldiv.v1.KlDivergence/EvaluateStream";

// A gRPC message with its prefix.
std::string Framed(const std::string& message) {
  std::string framed(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) framed += static_cast<char>(message.size() >> shift & 0xff);
  return framed + message;
}

// Asks on several threads, each on a connection of its own, and expects each answer to be right.
class Bystanders {
 public:
  Bystanders(const ServerProcess& server, int threads, int calls) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([&server, calls, this] {
        const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
        double first = 0;
        for (int n = 0; n < calls; ++n) {
          grpc::ClientContext context;
          v1::EvaluateResponse response;
          const grpc::Status status = stub->Evaluate(&context, UniformRequest(10'000), &response);
          EXPECT_TRUE(status.ok()) << status.error_message();
          if (n == 0) first = response.loss();
          EXPECT_EQ(response.loss(), first);
          ++answered_;
        }
      });
    }
  }
  ~Bystanders() {
    for (std::thread& thread : threads_) thread.join();
  }
  Bystanders(const Bystanders&) = delete;
  Bystanders& operator=(const Bystanders&) = delete;

  // Waits until at least one answer has come.
  void UnderWay() const {
    while (answered_ == 0) std::this_thread::yield();
  }

 private:
  std::atomic<int> answered_ = 0;
  std::vector<std::thread> threads_;
};

TEST(Survival, ClientsKilledInTheMiddleOfAMessageHarmNobody) {
  ServerProcess server;
  std::vector<std::unique_ptr<Http2Call>> calls;
  for (int i = 0; i < 20; ++i) {
    calls.push_back(std::make_unique<Http2Call>(server.address(), kEvaluate));
    calls.back()->BeginMessage(1'000'000);
    calls.back()->Send(std::string(10'000, 'x'));
  }
  ASSERT_TRUE(server.WaitForMetric("kldiv_calls_in_flight", 20));
  {
    Bystanders others(server, 2, 50);
    others.UnderWay();
    for (const auto& call : calls) call->Reset();
  }
  EXPECT_TRUE(server.WaitForMetric("kldiv_messages_lost_total", 20));
  EXPECT_TRUE(server.WaitUntilBalanced());
  EXPECT_EQ(server.Metric("kldiv_pairs_completed_total"), 100);
  EXPECT_EQ(server.StopBy(SIGTERM), 0);
}

TEST(Survival, ClientsKilledInTheMiddleOfAStreamHarmNobody) {
  ServerProcess server;
  const std::string pair = Framed(UniformRequest(1000).SerializeAsString());
  std::vector<std::unique_ptr<Http2Call>> streams;
  for (int i = 0; i < 20; ++i) {
    streams.push_back(std::make_unique<Http2Call>(server.address(), kEvaluateStream));
    streams.back()->Send(pair);
    streams.back()->Send(pair.substr(0, pair.size() / 2));
  }
  ASSERT_TRUE(server.WaitForMetric("kldiv_pairs_completed_total", 20));
  {
    Bystanders others(server, 2, 50);
    others.UnderWay();
    for (const auto& stream : streams) stream->Reset();
  }
  EXPECT_TRUE(server.WaitUntilBalanced());
  EXPECT_EQ(server.Metric("kldiv_pairs_completed_total"), 120);
  EXPECT_EQ(server.StopBy(SIGTERM), 0);
}

TEST(Survival, OneCancelledCallAmongAThousandHarmsNobody) {
  ServerProcess server;
  const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
  constexpr int kCalls = 1000;
  constexpr int kCancelled = 500;
  grpc::CompletionQueue queue;
  struct Pending {
    grpc::ClientContext context;
    v1::EvaluateResponse response;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<v1::EvaluateResponse>> reader;
  };
  std::vector<Pending> calls(kCalls);
  const v1::EvaluateRequest request = UniformRequest(10'000);
  for (int i = 0; i < kCalls; ++i) {
    Pending& call = calls[static_cast<size_t>(i)];
    call.reader = stub->AsyncEvaluate(&call.context, request, &queue);
    call.reader->Finish(&call.response, &call.status, &call);
    if (i == kCancelled) call.context.TryCancel();
  }
  for (int i = 0; i < kCalls; ++i) {
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
  }
  for (int i = 0; i < kCalls; ++i) {
    const Pending& call = calls[static_cast<size_t>(i)];
    if (i == kCancelled) {
      EXPECT_EQ(call.status.error_code(), grpc::StatusCode::CANCELLED);
    } else {
      EXPECT_TRUE(call.status.ok()) << i << ": " << call.status.error_message();
      EXPECT_EQ(call.response.loss(), calls[0].response.loss());
    }
  }
  EXPECT_TRUE(server.WaitUntilBalanced());
}

TEST(Survival, AMessageThatDoesNotBecomeCompleteEndsAtTheReadTimeout) {
  ServerProcess server({"--read_timeout=100ms"});
  Http2Call call(server.address(), kEvaluate);
  call.BeginMessage(1'000'000);
  call.Send(std::string(10'000, 'x'));
  EXPECT_TRUE(server.WaitForMetric("kldiv_read_timeouts_total", 1));
  EXPECT_TRUE(server.WaitUntilBalanced());
  EXPECT_EQ(server.Metric("kldiv_read_grants_held"), 0);
}

TEST(Survival, AnAnswerThatNobodyTakesEndsAtTheWriteTimeout) {
  ServerProcess server({"--write_timeout=200ms"});
  v1::EvaluateRequest request = UniformRequest(4'000'000);
  request.set_reduction(v1::REDUCTION_NONE);
  const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
  {
    // A stream whose results are not read: gRPC's window holds only a part of the first.
    grpc::ClientContext context;
    const auto stream = stub->EvaluateStream(&context);
    ASSERT_TRUE(stream->Write(request));
    Bystanders others(server, 1, 20);
    EXPECT_TRUE(server.WaitForMetric("kldiv_calls_in_flight", 0));
    v1::EvaluateResult result;
    while (stream->Read(&result)) {
    }
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  EXPECT_TRUE(server.WaitUntilBalanced());
}

TEST(Survival, WhatDoesNotFitTheQueueIsShedWithPushbackAndWhatFitsIsAnswered) {
  ServerProcess server({"--max_queue_bytes=20MiB", "--cpu_threads=1"});
  const v1::EvaluateRequest request = UniformRequest(1'500'000);  // 12 MB: two do not fit
  std::atomic<int> answered = 0, shed = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
      for (int n = 0; n < 200 && !(answered > 0 && shed > 0); ++n) {
        grpc::ClientContext context;
        v1::EvaluateResponse response;
        const grpc::Status status = stub->Evaluate(&context, request, &response);
        if (status.ok()) {
          ++answered;
          continue;
        }
        EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
        EXPECT_THAT(status.error_message(), HasSubstr("20971520"));
        const auto& trailers = context.GetServerTrailingMetadata();
        const auto pushback = trailers.find("grpc-retry-pushback-ms");
        ASSERT_NE(pushback, trailers.end());
        EXPECT_GT(std::stoi(std::string(pushback->second.data(), pushback->second.size())), 0);
        ++shed;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_GT(answered, 0);
  EXPECT_GT(shed, 0);
  EXPECT_TRUE(server.WaitUntilBalanced());
}

TEST(Survival, APairThatCanNeverFitTheQueueIsInvalid) {
  ServerProcess server({"--max_queue_bytes=4MiB"});
  const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
  grpc::ClientContext context;
  v1::EvaluateResponse response;
  const grpc::Status status = stub->Evaluate(&context, UniformRequest(1'500'000), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
}

}  // namespace
}  // namespace kldiv::integration
