#include "server/service_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "absl/status/status.h"
#include "tests/server/notify_socket.h"

namespace kldiv::server {
namespace {

using ::testing::HasSubstr;

class ServiceManager : public ::testing::Test {
 protected:
  ~ServiceManager() override { unsetenv("NOTIFY_SOCKET"); }
  static void Name(const std::string& name) { setenv("NOTIFY_SOCKET", name.c_str(), /*overwrite=*/1); }
};

class ServiceManagerAt : public ServiceManager, public ::testing::WithParamInterface<NotifySocket::Kind> {};

TEST_P(ServiceManagerAt, IsToldEachStateInAMessageOfItsOwn) {
  const NotifySocket socket(GetParam());
  Name(socket.name());
  EXPECT_TRUE(TellServiceManager(ServiceState::kReady).ok());
  EXPECT_TRUE(TellServiceManager(ServiceState::kStopping).ok());
  EXPECT_EQ(socket.Receive(), "READY=1");
  EXPECT_EQ(socket.Receive(), "STOPPING=1");
  EXPECT_FALSE(socket.HasMessage());
}

INSTANTIATE_TEST_SUITE_P(EveryAddress, ServiceManagerAt,
                         ::testing::Values(NotifySocket::Kind::kAbstract, NotifySocket::Kind::kPath));

TEST_F(ServiceManager, IsNotNeeded) {
  unsetenv("NOTIFY_SOCKET");
  EXPECT_TRUE(TellServiceManager(ServiceState::kReady).ok());
  Name("");
  EXPECT_TRUE(TellServiceManager(ServiceState::kReady).ok());
}

TEST_F(ServiceManager, ThatHasGoneIsAnErrorThatNamesItsSocket) {
  std::string name;
  {
    const NotifySocket socket(NotifySocket::Kind::kPath);
    name = socket.name();
  }
  Name(name);
  const absl::Status status = TellServiceManager(ServiceState::kReady);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(name));
}

TEST_F(ServiceManager, ThatDoesNotReadIsAnErrorAfterAWhile) {
  const NotifySocket socket(NotifySocket::Kind::kAbstract);
  Name(socket.name());
  absl::Status status;
  for (int message = 0; status.ok() && message < 1'000'000; ++message) {
    status = TellServiceManager(ServiceState::kReady);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(ServiceManager, IsNotLookedForAtOtherAddresses) {
  for (const std::string& name :
       {std::string("vsock:2:1234"), std::string("socket"), "/" + std::string(107, 'x')}) {
    Name(name);
    EXPECT_EQ(TellServiceManager(ServiceState::kReady).code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

}  // namespace
}  // namespace kldiv::server
