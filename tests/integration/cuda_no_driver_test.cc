// A build with the real CUDA runtime on a machine without a driver: it starts and serves with the CPU.

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "kldiv/v1/kldiv.grpc.pb.h"
#include "tests/integration/requests.h"
#include "tests/integration/server_process.h"
#include "tests/server/child_process.h"

namespace kldiv::cuda {
namespace {

using integration::ServerProcess;
using ::testing::StartsWith;

class NoDriver : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::filesystem::exists("/dev/nvidiactl")) GTEST_SKIP() << "this machine has a driver";
  }
};

TEST_F(NoDriver, LeavesTheCpuToServe) {
  ServerProcess server;
  const auto stub = v1::KlDivergence::NewStub(server.NewChannel());
  grpc::ClientContext context;
  v1::EvaluateResponse response;
  EXPECT_TRUE(stub->Evaluate(&context, integration::UniformRequest(100'000), &response).ok());
  grpc::ClientContext info_context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(stub->GetServerInfo(&info_context, {}, &info).ok());
  EXPECT_EQ(info.backend(), "cpu");
  EXPECT_EQ(server.StopBy(SIGTERM), 0);
}

TEST_F(NoDriver, IsTheReasonWhyCudaAloneCannotServe) {
  server::ChildProcess process(
      {integration::ServerBinary(), "--backend=cuda", "--listen=127.0.0.1:0", "--metrics_listen="});
  const std::string errors = process.Errors();
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_THAT(
      errors,
      StartsWith("kldiv-server: --backend=cuda: cudaGetDeviceCount: cudaErrorInsufficientDriver (35), "));
  EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 1);
}

}  // namespace
}  // namespace kldiv::cuda
