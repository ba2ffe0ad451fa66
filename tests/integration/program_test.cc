// The program kldiv-server as an operator meets it: start, addresses, health, reflection, drain, exit codes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "kldiv/v1/kldiv.grpc.pb.h"
#include "server/base/version.h"
#include "tests/integration/health.h"
#include "tests/integration/http2_client.h"
#include "tests/integration/requests.h"
#include "tests/integration/server_process.h"

namespace kldiv::integration {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

bool Answers(const std::string& address) {
  const auto stub = v1::KlDivergence::NewStub(ServerProcess::NewChannelTo(address));
  grpc::ClientContext context;
  v1::EvaluateResponse response;
  return stub->Evaluate(&context, UniformRequest(10), &response).ok();
}

// An open stream whose one pair has been answered.
auto AnsweredStream(v1::KlDivergence::Stub& stub, grpc::ClientContext& context) {
  auto stream = stub.EvaluateStream(&context);
  EXPECT_TRUE(stream->Write(UniformRequest(10, 3)));
  v1::EvaluateResult result;
  EXPECT_TRUE(stream->Read(&result));
  EXPECT_EQ(result.request_id(), 3u);
  return stream;
}

int ExitCodeOf(const std::vector<std::string>& flags, std::string* errors) {
  std::vector<std::string> arguments = {ServerBinary()};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  server::ChildProcess process(arguments);
  *errors = process.Errors();
  return process.Wait();
}

class Program : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(directory_); }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  const std::string directory_ = ::testing::TempDir() + "kldiv-program-" + std::to_string(getpid());
};

TEST_F(Program, SaysWhereItListensAndServesThere) {
  ServerProcess server({"--listen=127.0.0.1:0,unix:" + directory_ + "/socket", "--backend=cpu"});
  EXPECT_THAT(server.ready_line(), AllOf(StartsWith("listening on 127.0.0.1:"), EndsWith(" backend=cpu")));
  EXPECT_THAT(server.addresses(), ElementsAre(StartsWith("127.0.0.1:"), "unix:" + directory_ + "/socket"));
  for (const std::string& address : server.addresses()) EXPECT_TRUE(Answers(address)) << address;
  EXPECT_EQ(server.StopBy(SIGTERM), 0);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/socket"));
}

TEST_F(Program, OpensItsUnixSocketToItsOwnerAlone) {
  ServerProcess server({"--listen=unix:" + directory_ + "/socket"});
  struct stat status {};
  ASSERT_EQ(stat((directory_ + "/socket").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(Program, EndsWithOneWhenThePortIsTaken) {
  ServerProcess server;
  std::string errors;
  EXPECT_EQ(ExitCodeOf({"--listen=" + server.address(), "--metrics_listen="}, &errors), 1);
  EXPECT_THAT(errors, AllOf(HasSubstr("--listen"), HasSubstr(server.address())));
  EXPECT_TRUE(Answers(server.address()));
}

TEST_F(Program, EndsWithOneWhenTheUnixSocketIsTakenAndLeavesItAlone) {
  const std::string address = "unix:" + directory_ + "/socket";
  ServerProcess server({"--listen=" + address});
  std::string errors;
  EXPECT_EQ(ExitCodeOf({"--listen=" + address, "--metrics_listen="}, &errors), 1);
  EXPECT_THAT(errors, HasSubstr("--listen"));
  EXPECT_TRUE(Answers(address));
}

TEST_F(Program, EndsWithOneWhenTheMemoryHoldsNoMessage) {
  std::string errors;
  EXPECT_EQ(
      ExitCodeOf({"--max_memory=200MiB", "--max_queue_bytes=64MiB", "--max_message_bytes=64MiB"}, &errors),
      1);
  EXPECT_THAT(errors, HasSubstr("--max_memory"));
}

TEST_F(Program, EndsWithTwoForBadUsage) {
  std::string errors;
  EXPECT_EQ(ExitCodeOf({"--no_such_flag"}, &errors), 2);
  EXPECT_THAT(errors, HasSubstr("no_such_flag"));
  EXPECT_EQ(ExitCodeOf({"--read_timeout=5"}, &errors), 2);
  EXPECT_THAT(errors, HasSubstr("read_timeout"));
  EXPECT_EQ(ExitCodeOf({"--tls_cert=cert.pem"}, &errors), 2);
  EXPECT_THAT(errors, HasSubstr("tls_cert"));
}

TEST_F(Program, TellsItsFacts) {
  ServerProcess server({"--backend=cpu", "--cpu_threads=2", "--max_message_bytes=5MiB"});
  const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(stub->GetServerInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.version(), base::kVersion);
  EXPECT_EQ(info.backend(), "cpu");
  EXPECT_THAT(info.devices(), ElementsAre(EndsWith(", 2 threads")));
  EXPECT_EQ(info.max_message_bytes(), 5 << 20);
  EXPECT_EQ(info.numerics_version(), 1u);
  EXPECT_EQ(info.max_pairs_per_message(), 65536);
  EXPECT_EQ(info.max_dimensions(), 64);
  EXPECT_EQ(info.max_in_flight_per_stream(), 256);
}

TEST_F(Program, IsHealthyFromItsReadyLineOn) {
  ServerProcess server;
  const auto channel = server.NewChannel();
  EXPECT_EQ(CheckHealth(channel, "").status, HealthResponse::SERVING);
  EXPECT_EQ(CheckHealth(channel, "kldiv.v1.KlDivergence").status, HealthResponse::SERVING);
  EXPECT_EQ(CheckHealth(channel, "no.such.Service").code, grpc::StatusCode::NOT_FOUND);
}

TEST_F(Program, DescribesItselfByReflection) {
  ServerProcess server;
  const auto channel = server.NewChannel();
  EXPECT_THAT(ReflectedServices(channel),
              AllOf(HasSubstr("kldiv.v1.KlDivergence"), HasSubstr("grpc.health.v1.Health")));
  EXPECT_THAT(ReflectedFile(channel, "kldiv.v1.KlDivergence"), HasSubstr("EvaluateBatchRequest"));
  EXPECT_THAT(ReflectedFile(channel, "grpc.health.v1.Health"), HasSubstr("HealthCheckResponse"));
}

TEST_F(Program, DrainsAnOpenStreamAfterAnsweringIt) {
  ServerProcess server;
  const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
  grpc::ClientContext context;
  const auto stream = AnsweredStream(*stub, context);
  v1::EvaluateResult result;
  server.Signal(SIGTERM);
  EXPECT_FALSE(stream->Read(&result));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("draining"));
  EXPECT_EQ(server.Wait(), 0);
}

TEST_F(Program, DrainsCleanlyWhileAClientKeepsCallingAndTellsItOnlyThatItIsUnavailable) {
  ServerProcess server;
  const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
  std::atomic<bool> gone = false;
  std::atomic<int> answered = 0;
  std::thread client([&] {
    while (!gone) {
      grpc::ClientContext context;
      v1::EvaluateResponse response;
      const grpc::Status status = stub->Evaluate(&context, UniformRequest(10), &response);
      if (status.ok()) ++answered;
      EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::UNAVAILABLE)
          << status.error_code() << ": " << status.error_message();
    }
  });
  while (answered == 0) std::this_thread::yield();
  EXPECT_EQ(server.StopBy(SIGTERM), 0);
  gone = true;
  client.join();
}

TEST_F(Program, DrainsAtOnceWhenThereIsNothingToDrain) {
  ServerProcess server({"--drain_timeout=0s"});
  EXPECT_EQ(server.StopBy(SIGTERM), 0);
}

TEST_F(Program, OwesHalfAMessageNoAnswerWhenItDrains) {
  for (const char* const timeout : {"--drain_timeout=1s", "--drain_timeout=1h"}) {
    ServerProcess server({timeout, "--read_timeout=1h"});
    Http2Call call(server.address(), "/kldiv.v1.KlDivergence/Evaluate");
    call.BeginMessage(1000);
    call.Send("half");
    ASSERT_TRUE(server.WaitForMetric("kldiv_calls_in_flight", 1));
    EXPECT_EQ(server.StopBy(SIGTERM), 0) << timeout;
  }
}

TEST_F(Program, DrainsCleanlyWithoutPatienceWhenAStreamIsIdle) {
  ServerProcess server({"--drain_timeout=0s"});
  const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
  grpc::ClientContext context;
  const auto stream = AnsweredStream(*stub, context);
  EXPECT_EQ(server.StopBy(SIGTERM), 0);
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(Program, TellsWatchersThatItDrains) {
  ServerProcess server;
  HealthWatcher watcher(server.NewChannel(), "");
  EXPECT_EQ(watcher.Next(), HealthResponse::SERVING);
  server.Signal(SIGINT);
  EXPECT_EQ(watcher.Next(), HealthResponse::NOT_SERVING);
  EXPECT_EQ(server.Wait(), 0);
}

TEST_F(Program, ServesOnDuringTheDrainDelayWhileHealthSaysOtherwise) {
  ServerProcess server({"--drain_delay=1s"});
  HealthWatcher watcher(server.NewChannel(), "");
  EXPECT_EQ(watcher.Next(), HealthResponse::SERVING);
  server.Signal(SIGTERM);
  EXPECT_EQ(watcher.Next(), HealthResponse::NOT_SERVING);
  EXPECT_TRUE(Answers(server.address()));  // over a new connection
  EXPECT_EQ(server.Wait(), 0);
}

TEST_F(Program, AnswersHealthAloneAtAnAddressForProbesUntilItsEnd) {
  const std::string address = "unix:" + directory_ + "/health";
  ServerProcess server({"--health_listen=" + address});
  const auto channel = ServerProcess::NewChannelTo(address);
  EXPECT_EQ(CheckHealth(channel, "kldiv.v1.KlDivergence").status, HealthResponse::SERVING);
  grpc::ClientContext context;
  v1::EvaluateResponse response;
  EXPECT_EQ(
      v1::KlDivergence::NewStub(channel)->Evaluate(&context, UniformRequest(10), &response).error_code(),
      grpc::StatusCode::UNIMPLEMENTED);
  HealthWatcher watcher(channel, "");
  EXPECT_EQ(watcher.Next(), HealthResponse::SERVING);
  server.Signal(SIGTERM);
  EXPECT_EQ(watcher.Next(), HealthResponse::NOT_SERVING);
  EXPECT_EQ(server.Wait(), 0);
}

TEST_F(Program, EndsWithOneWhenTheHealthAddressIsTaken) {
  ServerProcess server;
  std::string errors;
  EXPECT_EQ(ExitCodeOf({"--listen=127.0.0.1:0", "--metrics_listen=", "--health_listen=" + server.address()},
                       &errors),
            1);
  EXPECT_THAT(errors, HasSubstr("--health_listen: "));
}

TEST_F(Program, AsksOldConnectionsToReconnectWithoutAFailedCall) {
  ServerProcess server({"--max_connection_age=200ms"});
  const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
  while (server.Metric("kldiv_connections_accepted_total") < 4) {  // gRPC connects anew each time
    grpc::ClientContext context;
    v1::EvaluateResponse response;
    const grpc::Status status = stub->Evaluate(&context, UniformRequest(10), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(server.StopBy(SIGTERM), 0);
}

// They have greeted and begun a call, so that no timeout of a handshake ends them.
TEST_F(Program, HasConnectionsThatSayNothingGiveWayToNewClients) {
  ServerProcess server({"--max_connections=2"});
  const Http2Call first(server.address(), "/kldiv.v1.KlDivergence/Evaluate");
  const Http2Call second(server.address(), "/kldiv.v1.KlDivergence/Evaluate");
  ASSERT_TRUE(server.WaitForMetric("kldiv_connections_accepted_total", 2));

  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(12));
  v1::EvaluateResponse response;
  const grpc::Status status =
      v1::KlDivergence::NewStub(server.NewChannel())->Evaluate(&context, UniformRequest(10), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(server.Metric("kldiv_connections_evicted_total"), 1);
}

}  // namespace
}  // namespace kldiv::integration
