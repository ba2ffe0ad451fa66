// The server of a HOST build as a process: what it says about its devices, and how it ends without them.

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kldiv/v1/kldiv.grpc.pb.h"
#include "tests/integration/health.h"
#include "tests/integration/requests.h"
#include "tests/integration/server_process.h"
#include "tests/server/child_process.h"

namespace kldiv::cuda {
namespace {

using integration::HealthResponse;
using integration::HealthWatcher;
using integration::ServerProcess;
using integration::UniformRequest;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr int64_t kLarge = 100'000;  // elements: a batch for a device, and not one for several

// A variable of the environment for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* const name_;
};

// Runs the program to its end, which must not be the end of a drain.
std::pair<int, std::string> CodeAndErrors(std::vector<std::string> flags) {
  flags.insert(flags.begin(), {integration::ServerBinary(), "--listen=127.0.0.1:0", "--metrics_listen="});
  server::ChildProcess process(std::move(flags));
  std::string errors = process.Errors();
  return {process.Wait(), std::move(errors)};
}

std::pair<grpc::Status, double> Evaluate(const ServerProcess& server, int64_t elements) {
  const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
  grpc::ClientContext context;
  v1::EvaluateResponse response;
  const grpc::Status status = stub->Evaluate(&context, UniformRequest(elements), &response);
  return {status, response.loss()};
}

v1::GetServerInfoResponse Info(const ServerProcess& server) {
  const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  EXPECT_TRUE(stub->GetServerInfo(&context, {}, &info).ok());
  return info;
}

TEST(CudaServer, NamesItsDevicesAndWhatItIs) {
  const Variable devices("KLDIV_CUDA_HOST_DEVICES", "2");
  const ServerProcess server({"--cpu_threads=2"});
  const v1::GetServerInfoResponse info = Info(server);
  EXPECT_THAT(info.version(), EndsWith("+cuda-host"));
  EXPECT_EQ(info.backend(), "cuda");
  EXPECT_THAT(info.devices(), ElementsAre(EndsWith(", 2 threads"), "cuda:0 emulated on the CPU",
                                          "cuda:1 emulated on the CPU"));
  EXPECT_THAT(server.ready_line(), EndsWith(" backend=cuda"));
}

TEST(CudaServer, UsesTheDevicesThatItIsTold) {
  const Variable devices("KLDIV_CUDA_HOST_DEVICES", "3");
  const ServerProcess server({"--backend=cuda", "--cuda_devices=2,0"});
  EXPECT_THAT(Info(server).devices(),
              ElementsAre("cuda:2 emulated on the CPU", "cuda:0 emulated on the CPU"));
}

TEST(CudaServer, AnswersWithTheSameBitsOnEveryBackend) {
  const ServerProcess cpu({"--backend=cpu"});
  const ServerProcess cuda({"--backend=cuda"});
  const ServerProcess both({"--cuda_min_batch_elements=1"});
  for (const int64_t elements : {int64_t{1}, int64_t{1000}, kLarge}) {
    const auto [status, loss] = Evaluate(cpu, elements);
    ASSERT_TRUE(status.ok());
    for (const ServerProcess* server : {&cuda, &both}) {
      const auto [other_status, other_loss] = Evaluate(*server, elements);
      ASSERT_TRUE(other_status.ok()) << other_status.error_message();
      EXPECT_EQ(other_loss, loss);
    }
  }
}

TEST(CudaServer, CannotStartWithoutADeviceAndSaysWhichCallFailedAndHow) {
  const Variable devices("KLDIV_CUDA_HOST_FAIL", "cudaGetDeviceCount:1:35");
  EXPECT_EQ(CodeAndErrors({"--backend=cuda"}),
            std::pair(1, std::string(
                             "kldiv-server: --backend=cuda: cudaGetDeviceCount: cudaErrorInsufficientDriver "
                             "(35), CUDA driver version is insufficient for CUDA runtime version\n")));
}

TEST(CudaServer, ServesWithTheCpuWithoutADevice) {
  const Variable devices("KLDIV_CUDA_HOST_DEVICES", "0");
  ServerProcess server;
  EXPECT_EQ(Info(server).backend(), "cpu");
  EXPECT_TRUE(Evaluate(server, kLarge).first.ok());
  EXPECT_EQ(server.StopBy(SIGTERM), 0);
}

TEST(CudaServer, CannotStartWhenADeviceHasNoMemoryForItsLanes) {
  const Variable memory("KLDIV_CUDA_HOST_MEMORY", "1048576");
  const auto [code, errors] = CodeAndErrors({"--backend=cuda"});
  EXPECT_EQ(code, 1);
  EXPECT_THAT(errors, AllOf(HasSubstr("--backend=cuda: cuda:0 emulated on the CPU: cudaMalloc of "),
                            HasSubstr("cudaErrorMemoryAllocation")));
  const ServerProcess server;
  EXPECT_EQ(Info(server).backend(), "cpu");
}

TEST(CudaServer, CannotStartWithADeviceThatIsNotThere) {
  const auto [code, errors] = CodeAndErrors({"--backend=cuda", "--cuda_devices=0,5"});
  EXPECT_EQ(code, 1);
  EXPECT_THAT(errors, HasSubstr("--cuda_devices: cuda:5: cudaGetDeviceProperties: cudaErrorInvalidDevice"));
}

TEST(CudaServer, AnswersWithTheFaultOfItsLastDeviceAndEndsWithFour) {
  const Variable fault("KLDIV_CUDA_HOST_FAIL", "kernel:2:700");
  ServerProcess server({"--backend=cuda"});
  HealthWatcher health(server.NewChannel(), "");
  EXPECT_EQ(health.Next(), HealthResponse::SERVING);
  EXPECT_TRUE(Evaluate(server, 1000).first.ok());
  const grpc::Status status = Evaluate(server, 1000).first;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("cudaErrorIllegalAddress"));
  EXPECT_EQ(health.Next(), HealthResponse::NOT_SERVING);
  EXPECT_EQ(server.Wait(), 4);
}

TEST(CudaServer, LeavesAFailedBatchToTheCpuAndCountsIt) {
  const Variable fault("KLDIV_CUDA_HOST_FAIL", "kernel:1:700");
  ServerProcess server({"--cuda_min_batch_elements=1", "--cpu_threads=1"});
  EXPECT_TRUE(Evaluate(server, kLarge).first.ok());
  EXPECT_TRUE(Evaluate(server, kLarge).first.ok());
  EXPECT_TRUE(server.WaitForMetric("kldiv_batches_failed_total", 1));
  EXPECT_TRUE(server.WaitForMetric("kldiv_batches_retried_total", 1));
  EXPECT_TRUE(server.WaitForMetric("kldiv_lanes{lane=\"cuda\"}", 0));
  EXPECT_EQ(server.StopBy(SIGTERM), 0);
}

// Every call that a lane makes, and the device itself, fails at some time. Clients see one status each, and
// the program ends as it should: with 4 when the device is gone, otherwise cleanly.
TEST(CudaServer, EndsEveryCallOnceWhateverFails) {
  struct Case {
    const char* fault;
    bool loses_the_device;
  };
  const Case cases[] = {
      {"cudaSetDevice:8:801", false},
      {"cudaMemcpyAsync:1:801", false},
      {"cudaMemcpyAsync:2:801", false},
      {"cudaMemcpyAsync:7:801", false},
      {"cudaLaunchKernelEx:1:701", false},
      {"cudaLaunchKernelEx:5:701", false},
      {"cudaEventRecord:2:801", false},
      {"cudaEventElapsedTime:2:801", false},
      {"cudaEventSynchronize:1:801", false},
      {"cudaEventSynchronize:3:801", false},
      {"cudaMemcpyAsync:1:700", true},
      {"cudaLaunchKernelEx:2:719", true},
      {"cudaEventSynchronize:3:719", true},
      {"kernel:1:700", true},
      {"kernel:4:719", true},
      {"copy:3:214", true},
  };
  for (const auto& [fault, loses_the_device] : cases) {
    const Variable variable("KLDIV_CUDA_HOST_FAIL", fault);
    ServerProcess server({"--backend=cuda"});
    constexpr int kClients = 4;
    constexpr int kCalls = 6;
    std::atomic<int> answered = 0;
    std::atomic<int> failed = 0;
    std::vector<std::thread> clients;
    for (int i = 0; i < kClients; ++i) {
      clients.emplace_back([&] {
        for (int n = 0; n < kCalls; ++n) {
          const grpc::Status status = Evaluate(server, 3000).first;
          if (!status.ok()) {
            EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
          }
          ++(status.ok() ? answered : failed);
        }
      });
    }
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(answered + failed, kClients * kCalls) << fault;
    EXPECT_GE(failed, 1) << fault;
    EXPECT_EQ(loses_the_device ? server.Wait() : server.StopBy(SIGTERM), loses_the_device ? 4 : 0) << fault;
  }
}

}  // namespace
}  // namespace kldiv::cuda
