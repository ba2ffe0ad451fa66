// A peer that grants gRPC an endless window and then takes no more data: what is being written to it stays
// with gRPC beyond the call's deadline. The library must not say that the call is over before the memory is
// free.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client/include/kldiv/client.h"

namespace kldiv {
namespace {

// Listens, greets as an HTTP/2 server with the largest windows there are, and never reads.
class StalledPeer {
 public:
  explicit StalledPeer(bool unix_domain) {
    if (unix_domain) {
      path_ = "/tmp/kldiv_stalled_peer." + std::to_string(getpid());
      sockaddr_un address = {};
      address.sun_family = AF_UNIX;
      std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
      Listen(AF_UNIX, reinterpret_cast<sockaddr*>(&address), sizeof address);
      address_ = "unix:" + path_;
    } else {
      sockaddr_in address = {};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socklen_t size = sizeof address;
      Listen(AF_INET, reinterpret_cast<sockaddr*>(&address), size);
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
      address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    }
    thread_ = std::thread([this] { Serve(); });
  }
  ~StalledPeer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    for (const int connection : connections_) close(connection);
    close(listener_);
    if (!path_.empty()) unlink(path_.c_str());
  }

  const std::string& address() const { return address_; }

 private:
  void Listen(int family, const sockaddr* address, socklen_t size) {
    listener_ = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int buffer = 4096;
    setsockopt(listener_, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    ASSERT_EQ(bind(listener_, address, size), 0);
    ASSERT_EQ(listen(listener_, 16), 0);
  }

  void Serve() {
    static constexpr unsigned char kGreeting[] = {
        0,    0,    6, 4, 0, 0, 0, 0, 0, 0,    4,    0x7f, 0xff,
        0xff, 0xff,                                            // SETTINGS: INITIAL_WINDOW_SIZE 2^31 - 1
        0,    0,    4, 8, 0, 0, 0, 0, 0, 0x7f, 0xff, 0,    0,  // WINDOW_UPDATE of the connection to that
        0,    0,    0, 4, 1, 0, 0, 0, 0};                      // SETTINGS acknowledged
    for (int connection = 0; (connection = accept(listener_, nullptr, nullptr)) >= 0;) {
      connections_.push_back(connection);
      EXPECT_EQ(write(connection, kGreeting, sizeof kGreeting), static_cast<ssize_t>(sizeof kGreeting));
    }
  }

  std::string path_;
  std::string address_;
  int listener_ = -1;
  std::vector<int> connections_;  // the thread's, until it has been joined
  std::thread thread_;
};

// More calls than the socket's buffers hold.
class Calls {
 public:
  explicit Calls(const std::string& server) : client_(*Client::Create({.server = server})) {
    const Pair pair = {.input = {values_, shape_}, .target = {values_, shape_}};
    for (int i = 0; i < 16; ++i) {
      futures_.push_back(client_->EvaluateFuture(pair, {.timeout = std::chrono::seconds(1)}));
    }
  }

  // How many have not ended a second after their deadlines: those that gRPC is writing to the socket.
  int HeldUp() {
    const auto moment = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    int held_up = 0;
    for (auto& future : futures_) {
      if (future.wait_until(moment) == std::future_status::timeout) ++held_up;
    }
    return held_up;
  }
  void ExpectThatAllEnd() {
    for (auto& future : futures_) {
      ASSERT_EQ(future.wait_for(std::chrono::seconds(60)), std::future_status::ready);
      EXPECT_EQ(future.get().status().code(), absl::StatusCode::kDeadlineExceeded);
    }
  }

 private:
  const std::vector<float> values_ = std::vector<float>(100'000, 0.5F);
  const std::vector<int64_t> shape_ = {100'000};
  const std::unique_ptr<Client> client_;
  std::vector<std::future<absl::StatusOr<Evaluation>>> futures_;
};

TEST(StalledPeer, IsGivenUpAndThenItsCallsEnd) {
  const StalledPeer peer(/*unix_domain=*/false);
  Calls calls(peer.address());
  EXPECT_GT(calls.HeldUp(), 0);
  calls.ExpectThatAllEnd();
}

TEST(StalledPeer, OnAUnixSocketHoldsACallUntilItGoes) {
  auto peer = std::make_unique<StalledPeer>(/*unix_domain=*/true);
  Calls calls(peer->address());
  EXPECT_GT(calls.HeldUp(), 0);
  peer.reset();
  calls.ExpectThatAllEnd();
}

TEST(StalledPeer, HoldsUpABlockingCallToo) {
  auto peer = std::make_unique<StalledPeer>(/*unix_domain=*/true);
  const auto client = *Client::Create({.server = peer->address()});
  const std::vector<float> values(100'000, 0.5F);
  const int64_t shape[] = {100'000};
  const Pair pair = {.input = {values, shape}, .target = {values, shape}};
  auto result = std::async(std::launch::async, [&] {
    return client->Evaluate(pair, {.timeout = std::chrono::milliseconds(100)}).status();
  });
  EXPECT_EQ(result.wait_for(std::chrono::milliseconds(500)), std::future_status::timeout);
  peer.reset();
  ASSERT_EQ(result.wait_for(std::chrono::seconds(60)), std::future_status::ready);
  EXPECT_EQ(result.get().code(), absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace kldiv
