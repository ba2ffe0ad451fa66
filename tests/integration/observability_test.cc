// What those who run a server see of its calls: counters, histograms, and a line in the log for what failed.

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "kldiv/v1/kldiv.grpc.pb.h"
#include "tests/integration/http2_client.h"
#include "tests/integration/requests.h"
#include "tests/integration/server_process.h"

namespace kldiv::integration {
namespace {

constexpr char kTraceparent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

class Observability : public ::testing::Test {
 protected:
  grpc::Status Evaluate(const v1::EvaluateRequest& request, grpc::ClientContext& context) {
    v1::EvaluateResponse response;
    return stub_->Evaluate(&context, request, &response);
  }
  grpc::Status Evaluate(const v1::EvaluateRequest& request) {
    grpc::ClientContext context;
    return Evaluate(request, context);
  }

  // "NAME{grpc_method="kldiv.v1.KlDivergence/METHOD",grpc_status="STATUS"}"
  static std::string Series(const std::string& name, const std::string& method, const std::string& status) {
    return name + "{grpc_method=\"kldiv.v1.KlDivergence/" + method + "\",grpc_status=\"" + status + "\"}";
  }

  // The sum of a metric over its devices.
  int64_t OfAllDevices(const std::string& name) {
    int64_t sum = 0;
    for (const std::string& series : server_.SeriesWith(name)) sum += server_.Metric(series);
    return sum;
  }

  // The next line of the log that tells of a failed call.
  nlohmann::json FailedCall() { return FailedCall(server_); }
  static nlohmann::json FailedCall(ServerProcess& server) {
    for (;;) {
      const nlohmann::json line = nlohmann::json::parse(server.LogLine());
      if (line.at("message") == "a call failed") return line;
    }
  }

  ServerProcess server_{{"--log_format=json"}};
  const std::unique_ptr<v1::KlDivergence::Stub> stub_ = v1::KlDivergence::NewStub(server_.NewChannel());
};

v1::EvaluateRequest Invalid() {
  v1::EvaluateRequest request = UniformRequest(10, /*request_id=*/42);
  request.clear_target();
  return request;
}

TEST_F(Observability, CountsCallsByMethodAndStatusWithTheirSizes) {
  const v1::EvaluateRequest request = UniformRequest(1000);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Evaluate(request).ok());
  ASSERT_EQ(Evaluate(Invalid()).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  ASSERT_TRUE(server_.WaitForMetric(Series("grpc_server_call_duration_seconds_count", "Evaluate", "OK"), 3));
  ASSERT_TRUE(server_.WaitForMetric(
      Series("grpc_server_call_duration_seconds_count", "Evaluate", "INVALID_ARGUMENT"), 1));
  EXPECT_EQ(server_.Metric("grpc_server_call_started_total{grpc_method=\"kldiv.v1.KlDivergence/Evaluate\"}"),
            4);
  EXPECT_EQ(server_.Metric(
                Series("grpc_server_call_rcvd_total_compressed_message_size_bytes_sum", "Evaluate", "OK")),
            3 * static_cast<int64_t>(request.ByteSizeLong()));
  EXPECT_GT(server_.Metric(
                Series("grpc_server_call_sent_total_compressed_message_size_bytes_sum", "Evaluate", "OK")),
            0);
  EXPECT_EQ(server_.Metric(Series("grpc_server_call_sent_total_compressed_message_size_bytes_sum", "Evaluate",
                                  "INVALID_ARGUMENT")),
            0);
}

TEST_F(Observability, CountsWhatTheClientWasTold) {
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  ASSERT_EQ(Evaluate(UniformRequest(1000), context).error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_TRUE(server_.WaitForMetric(
      Series("grpc_server_call_duration_seconds_count", "Evaluate", "UNIMPLEMENTED"), 1));
  EXPECT_EQ(FailedCall().at("code"), "UNIMPLEMENTED");
}

TEST_F(Observability, CountsAMessageOverTheLimitAsTheClientWasTold) {
  ServerProcess server({"--log_format=json", "--max_message_bytes=1MiB"});
  const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
  grpc::ClientContext context;
  v1::EvaluateResponse response;
  const grpc::Status status = stub->Evaluate(&context, UniformRequest(200'000), &response);
  ASSERT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), ::testing::HasSubstr("--max_message_bytes is 1048576"));
  EXPECT_TRUE(server.WaitForMetric(
      Series("grpc_server_call_duration_seconds_count", "Evaluate", "RESOURCE_EXHAUSTED"), 1));
  const nlohmann::json line = FailedCall(server);
  EXPECT_EQ(line.at("code"), "RESOURCE_EXHAUSTED");
  EXPECT_THAT(line.at("peer").get<std::string>(), ::testing::HasSubstr("127.0.0.1"));
}

TEST_F(Observability, CountsACallThatIsGoneInTheMiddleOfItsMessageAsCancelled) {
  {
    Http2Call call(server_.address(), "/kldiv.v1.KlDivergence/Evaluate");
    call.BeginMessage(1000);
    call.Send("half");
    ASSERT_TRUE(server_.WaitForMetric("kldiv_calls_in_flight", 1));
    call.Reset();
  }
  EXPECT_TRUE(
      server_.WaitForMetric(Series("grpc_server_call_duration_seconds_count", "Evaluate", "CANCELLED"), 1));
}

TEST_F(Observability, CountsACallThatItsClientCancelledAsCancelled) {
  grpc::ClientContext context;
  const auto stream = stub_->EvaluateStream(&context);
  ASSERT_TRUE(stream->Write(UniformRequest(10)));
  v1::EvaluateResult result;
  ASSERT_TRUE(stream->Read(&result));
  context.TryCancel();
  ASSERT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(server_.WaitForMetric(
      Series("grpc_server_call_duration_seconds_count", "EvaluateStream", "CANCELLED"), 1));
  EXPECT_EQ(FailedCall().at("method"), "/kldiv.v1.KlDivergence/EvaluateStream");
}

TEST_F(Observability, CountsEveryPairAndBatchThatGoesThroughTheLanes) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Evaluate(UniformRequest(100'000)).ok());
  ASSERT_TRUE(Evaluate(UniformRequest(10)).ok());  // computed on arrival, unless all goes to a device
  ASSERT_TRUE(server_.WaitForMetric("kldiv_total_seconds_count", 6));
  const int64_t lane_pairs = server_.Metric("kldiv_lane_pairs_total");
  const int64_t on_arrival = server_.Metric("kldiv_compute_seconds_count{lane=\"arrival\",device=\"cpu\"}");
  EXPECT_GE(lane_pairs, 5);
  EXPECT_EQ(on_arrival + lane_pairs, 6);
  EXPECT_EQ(OfAllDevices("kldiv_queue_seconds_count"), lane_pairs);
  EXPECT_EQ(OfAllDevices("kldiv_batch_pairs_sum"), lane_pairs);
  EXPECT_EQ(OfAllDevices("kldiv_batch_bytes_sum"), 5 * 800'000 + (lane_pairs - 5) * 80);
  EXPECT_EQ(OfAllDevices("kldiv_compute_seconds_count"),
            on_arrival + OfAllDevices("kldiv_batch_pairs_count"));
}

TEST_F(Observability, TellsOfTheProcessAndItsConnections) {
  ASSERT_TRUE(Evaluate(UniformRequest(10)).ok());
  EXPECT_EQ(server_.Metric("kldiv_connections_open"), 1);
  EXPECT_GT(server_.Metric("process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(server_.Metric("process_open_fds"), 5);
  EXPECT_GT(server_.Metric("process_max_fds"), server_.Metric("process_open_fds"));
  EXPECT_GT(server_.Metric("process_start_time_seconds"), 1'700'000'000);
  EXPECT_GE(server_.Metric("process_cpu_seconds_total"), 0);
}

TEST_F(Observability, NamesTheRequestAndTheTraceOfAFailedCallInTheLog) {
  grpc::ClientContext context;
  context.AddMetadata("traceparent", kTraceparent);
  const grpc::Status status = Evaluate(Invalid(), context);
  ASSERT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const nlohmann::json line = FailedCall();
  EXPECT_EQ(line.at("level"), "info");
  EXPECT_EQ(line.at("method"), "/kldiv.v1.KlDivergence/Evaluate");
  EXPECT_EQ(line.at("code"), "INVALID_ARGUMENT");
  EXPECT_EQ(line.at("error"), status.error_message());
  EXPECT_EQ(line.at("request_id"), "42");
  EXPECT_EQ(line.at("traceparent"), kTraceparent);
  EXPECT_THAT(line.at("peer").get<std::string>(), ::testing::HasSubstr("127.0.0.1"));
}

}  // namespace
}  // namespace kldiv::integration
