#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/include/kldiv/client.h"
#include "client/service_config.h"
#include "tests/client/fake_server.h"
#include "tests/client/small_pair.h"

namespace kldiv {
namespace {

using client_testing::FakeServer;
using client_testing::SmallPair;

// Three servers with health, each of which counts its calls.
class Balancing : public testing::Test {
 protected:
  static constexpr size_t kServers = 3;

  Balancing() {
    grpc::EnableDefaultHealthCheckService(true);
    for (size_t i = 0; i < kServers; ++i) Start(i);
    grpc::EnableDefaultHealthCheckService(false);
  }

  void Start(size_t i) {
    servers_[i] = std::make_unique<FakeServer>();
    servers_[i]->SetServing(true);
    servers_[i]->evaluate = [this, i](grpc::ServerContext&, const v1::EvaluateRequest&,
                                      v1::EvaluateResponse& response) {
      ++calls_[i];
      response.set_loss(0.25);
      return grpc::Status::OK;
    };
  }

  std::string List() const {
    return absl::StrCat("ipv4:", servers_[0]->address(), ",", servers_[1]->address(), ",",
                        servers_[2]->address());
  }

  // Calls until a server has had so many more, which each call brings nearer.
  void CallUntil(Client& client, size_t server, int calls) {
    const int enough = calls_[server] + calls;
    while (calls_[server] < enough) ASSERT_TRUE(client.Evaluate(SmallPair()).ok());
  }

  // What is called before the servers are reached goes to those that are reached first.
  std::unique_ptr<Client> Connect() {
    auto client = *Client::Create({.server = List()});
    for (size_t i = 0; i < kServers; ++i) CallUntil(*client, i, 1);
    return client;
  }

  std::array<int, kServers> CountCalls(Client& client, int calls) {
    std::array<int, kServers> before{}, counted{};
    for (size_t i = 0; i < kServers; ++i) before[i] = calls_[i];
    for (int i = 0; i < calls; ++i) {
      const absl::Status status = client.Evaluate(SmallPair()).status();
      EXPECT_TRUE(status.ok()) << status;
    }
    for (size_t i = 0; i < kServers; ++i) counted[i] = calls_[i] - before[i];
    return counted;
  }

  std::array<std::atomic<int>, kServers> calls_{};
  std::array<std::unique_ptr<FakeServer>, kServers> servers_;  // the last: their threads use what is above
};

TEST_F(Balancing, SpreadsCallsEvenly) {
  const auto client = Connect();
  EXPECT_EQ(CountCalls(*client, 30), (std::array{10, 10, 10}));
}

TEST_F(Balancing, LosesNoCallWhenAServerGoes) {
  const auto client = Connect();
  servers_[1]->Stop();
  const std::array<int, kServers> calls = CountCalls(*client, 300);
  EXPECT_EQ(calls[1], 0);
  EXPECT_NEAR(calls[0], calls[2], 2);
}

TEST_F(Balancing, SendsNothingToAServerThatDoesNotServe) {
  const auto client = Connect();
  servers_[0]->SetServing(false);
  // The client hears of it a moment later, during calls that all succeed.
  std::array<int, kServers> calls = CountCalls(*client, 6);
  while (calls[0] != 0) calls = CountCalls(*client, 6);
  EXPECT_EQ(CountCalls(*client, 30), (std::array{0, 15, 15}));
  servers_[0]->SetServing(true);
  CallUntil(*client, 0, 1);
}

TEST_F(Balancing, StaysWithOneServerWhereOneIsNamed) {
  const auto client = *Client::Create({.server = servers_[2]->address()});
  EXPECT_EQ(CountCalls(*client, 30), (std::array{0, 0, 30}));
}

TEST(ServiceConfig, KnowsWhichAddressesNameSeveralServers) {
  for (const char* const several : {"dns:///kldiv:50051", "dns://10.0.0.2/kldiv", "dns:kldiv:50051",
                                    "ipv4:10.0.0.1:1,10.0.0.2:1", "ipv6:[::1]:1"}) {
    EXPECT_TRUE(internal::NamesSeveralServers(several)) << several;
  }
  for (const char* const one : {"kldiv:50051", "10.0.0.1:50051", "[::1]:1", "unix:/run/kldiv", "dnsmasq:1"}) {
    EXPECT_FALSE(internal::NamesSeveralServers(one)) << one;
  }
}

}  // namespace
}  // namespace kldiv
