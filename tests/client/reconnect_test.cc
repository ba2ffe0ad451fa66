// How soon a client notices that its server is back.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "client/include/kldiv/client.h"

namespace kldiv {
namespace {

// Accepts connections and closes them at once. Takes the time of so many.
class ClosingPeer {
 public:
  explicit ClosingPeer(int connections) : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    duration_ = std::async(std::launch::async, [this, connections] {
      Accept();
      const auto first = std::chrono::steady_clock::now();
      for (int i = 1; i < connections; ++i) Accept();
      return std::chrono::steady_clock::now() - first;
    });
  }
  ~ClosingPeer() { close(listener_); }

  const std::string& address() const { return address_; }
  // From the first connection to the last.
  std::future<std::chrono::steady_clock::duration>& duration() { return duration_; }

 private:
  void Accept() const {
    const int connection = accept(listener_, nullptr, nullptr);
    EXPECT_GE(connection, 0);
    close(connection);
  }

  const int listener_;
  std::string address_;
  std::future<std::chrono::steady_clock::duration> duration_;
};

TEST(Reconnect, IsTriedEverySecondAtLeast) {
  constexpr int kConnections = 8;
  ClosingPeer peer(kConnections);
  const auto client = Client::Create({.server = peer.address()});
  ASSERT_TRUE(client.ok()) << client.status();
  const float value[] = {0};
  const Pair pair = {.input = {value, {}}, .target = {value, {}}};
  while (peer.duration().wait_for(std::chrono::milliseconds(10)) != std::future_status::ready) {
    EXPECT_EQ((*client)->Evaluate(pair).status().code(), absl::StatusCode::kUnavailable);
  }
  // Pauses of 0.1 s to 1 s make about 4 s; with gRPC's own, from 1 s on, it is more than a minute.
  EXPECT_LT(peer.duration().get(), std::chrono::seconds(12));
}

}  // namespace
}  // namespace kldiv
