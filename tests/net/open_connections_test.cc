#include "server/net/open_connections.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <string>
#include <vector>

#include "server/net/listening_socket.h"

namespace kldiv::server {
namespace {

using Room = OpenConnections::Room;
using std::chrono::hours;
using std::chrono::milliseconds;

constexpr milliseconds kNone{0};
constexpr int kTimeoutMs = 30'000;

// Moments far enough apart for each to be a look of its own.
OpenConnections::Clock::time_point Moment(int number) {
  return OpenConnections::Clock::time_point() + std::chrono::seconds(number);
}

sockaddr_in Loopback(const std::string& address) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  EXPECT_EQ(inet_pton(AF_INET, address.c_str(), &name.sin_addr), 1);
  return name;
}

// Both sides of a connection.
struct Connection {
  FileDescriptor client;
  FileDescriptor server;

  void Speak() const { EXPECT_EQ(send(client.get(), "x", 1, MSG_NOSIGNAL), 1); }

  bool IsEnded() const {
    pollfd polled{client.get(), POLLIN, 0};
    char byte = 0;
    return poll(&polled, 1, 0) == 1 && recv(client.get(), &byte, 1, MSG_PEEK) == 0;
  }

  uint32_t SilentMs() const {
    tcp_info info{};
    socklen_t size = sizeof info;
    EXPECT_EQ(getsockopt(server.get(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    return info.tcpi_last_data_recv;
  }
};

// A connection over TCP, from an address of the loopback network.
Connection ConnectFrom(const std::string& address) {
  const FileDescriptor listening(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name = Loopback("127.0.0.1");
  socklen_t size = sizeof name;
  auto* const server_name = reinterpret_cast<sockaddr*>(&name);
  EXPECT_EQ(bind(listening.get(), server_name, size), 0);
  EXPECT_EQ(listen(listening.get(), 1), 0);
  EXPECT_EQ(getsockname(listening.get(), server_name, &size), 0);

  Connection made;
  made.client = FileDescriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in own = Loopback(address);
  EXPECT_EQ(bind(made.client.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own), 0);
  EXPECT_EQ(connect(made.client.get(), server_name, size), 0);
  made.server = FileDescriptor(accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  EXPECT_TRUE(made.server.valid());
  return made;
}

// Has `longer` been silent for longer than `shorter` from some moment on? Makes it so.
void MakeSilentForLonger(const Connection& longer, const Connection& shorter) {
  const auto end = OpenConnections::Clock::now() + milliseconds(kTimeoutMs);
  do {
    shorter.Speak();
    ASSERT_LT(OpenConnections::Clock::now(), end);
  } while (longer.SilentMs() < shorter.SilentMs() + 20);
}

TEST(OpenConnections, AreTakenWhileThereIsRoom) {
  OpenConnections open(2, kNone);
  const Connection first = ConnectFrom("127.0.0.1"), second = ConnectFrom("127.0.0.1");
  EXPECT_EQ(open.MakeRoom(first.server.get(), Moment(1)), Room::kFree);
  open.Add(first.server.get());
  EXPECT_EQ(open.MakeRoom(second.server.get(), Moment(1)), Room::kFree);
}

TEST(OpenConnections, AreForgottenOnceTheirOwnerHasClosedThem) {
  OpenConnections open(1, hours(1));
  Connection first = ConnectFrom("127.0.0.1");
  open.Add(first.server.get());
  const Connection second = ConnectFrom("127.0.0.1");
  EXPECT_EQ(open.MakeRoom(second.server.get(), Moment(1)), Room::kNone);
  first.server = FileDescriptor();
  EXPECT_EQ(open.MakeRoom(second.server.get(), Moment(2)), Room::kFree);
}

TEST(OpenConnections, OfTheHeaviestPeerGiveWayTheLongestSilentFirst) {
  OpenConnections open(4, hours(1));
  const Connection lone = ConnectFrom("127.0.0.2");
  const Connection a = ConnectFrom("127.0.0.1"), b = ConnectFrom("127.0.0.1"), c = ConnectFrom("127.0.0.1");
  for (const Connection* each : {&lone, &a, &b, &c}) open.Add(each->server.get());
  MakeSilentForLonger(lone, b);  // Being alone protects it.
  MakeSilentForLonger(b, c);
  MakeSilentForLonger(b, a);

  const Connection newcomer = ConnectFrom("127.0.0.3");
  EXPECT_EQ(open.MakeRoom(newcomer.server.get(), Moment(1)), Room::kEvicted);
  EXPECT_TRUE(b.IsEnded());
  EXPECT_FALSE(a.IsEnded());
  EXPECT_FALSE(c.IsEnded());
  EXPECT_FALSE(lone.IsEnded());
  EXPECT_EQ(open.MakeRoom(newcomer.server.get(), Moment(1)), Room::kFree);  // The place is not lost.
}

TEST(OpenConnections, ThatAreBusyDoNotGiveWayToAnEqual) {
  OpenConnections open(2, hours(1));
  const Connection a = ConnectFrom("127.0.0.1"), b = ConnectFrom("127.0.0.2");
  open.Add(a.server.get());
  open.Add(b.server.get());
  const Connection same = ConnectFrom("127.0.0.1"), other = ConnectFrom("127.0.0.3");
  EXPECT_EQ(open.MakeRoom(same.server.get(), Moment(1)), Room::kNone);
  EXPECT_EQ(open.MakeRoom(other.server.get(), Moment(2)), Room::kNone);
  EXPECT_FALSE(a.IsEnded());
  EXPECT_FALSE(b.IsEnded());
}

TEST(OpenConnections, ThatAreSilentGiveWayToAnEqual) {
  OpenConnections open(1, kNone);
  const Connection silent = ConnectFrom("127.0.0.1");
  open.Add(silent.server.get());
  const Connection newcomer = ConnectFrom("127.0.0.1");
  EXPECT_EQ(open.MakeRoom(newcomer.server.get(), Moment(1)), Room::kEvicted);
  EXPECT_TRUE(silent.IsEnded());
}

TEST(OpenConnections, GiveWayToSeveralNewcomersAfterOneLook) {
  OpenConnections open(3, kNone);
  const Connection a = ConnectFrom("127.0.0.1"), b = ConnectFrom("127.0.0.1"), c = ConnectFrom("127.0.0.1");
  for (const Connection* each : {&a, &b, &c}) open.Add(each->server.get());
  MakeSilentForLonger(a, b);
  MakeSilentForLonger(b, c);
  const Connection first = ConnectFrom("127.0.0.2"), second = ConnectFrom("127.0.0.2");
  EXPECT_EQ(open.MakeRoom(first.server.get(), Moment(1)), Room::kEvicted);
  EXPECT_TRUE(a.IsEnded());
  EXPECT_FALSE(b.IsEnded());
  open.Add(first.server.get());
  EXPECT_EQ(open.MakeRoom(second.server.get(), Moment(1)), Room::kEvicted);
  EXPECT_TRUE(b.IsEnded());
  EXPECT_FALSE(c.IsEnded());
  EXPECT_FALSE(first.IsEnded());
}

TEST(OpenConnections, GiveWaySixteenTimesAfterOneLook) {
  OpenConnections open(20, kNone);
  std::vector<Connection> all;
  for (int i = 0; i < 20; ++i) {
    all.push_back(ConnectFrom("127.0.0.1"));
    open.Add(all.back().server.get());
  }
  int peer = 2;
  const auto take = [&](int moment) {
    all.push_back(ConnectFrom("127.0.0." + std::to_string(peer++)));
    const Room room = open.MakeRoom(all.back().server.get(), Moment(moment));
    if (room != Room::kNone) open.Add(all.back().server.get());
    return room;
  };
  for (int i = 0; i < 16; ++i) EXPECT_EQ(take(1), Room::kEvicted);
  EXPECT_EQ(take(1), Room::kNone);
  EXPECT_EQ(take(2), Room::kEvicted);
}

TEST(OpenConnections, ThatHaveSpokenSinceTheLookGiveWayAfterOthers) {
  OpenConnections open(3, kNone);
  const Connection a = ConnectFrom("127.0.0.1"), b = ConnectFrom("127.0.0.1"), c = ConnectFrom("127.0.0.1");
  for (const Connection* each : {&a, &b, &c}) open.Add(each->server.get());
  MakeSilentForLonger(a, b);
  MakeSilentForLonger(b, c);
  const Connection newcomer = ConnectFrom("127.0.0.2");
  EXPECT_EQ(open.MakeRoom(newcomer.server.get(), Moment(1)), Room::kEvicted);
  EXPECT_TRUE(a.IsEnded());
  open.Add(newcomer.server.get());
  MakeSilentForLonger(c, b);
  const Connection another = ConnectFrom("127.0.0.2");
  EXPECT_EQ(open.MakeRoom(another.server.get(), Moment(1)), Room::kEvicted);
  EXPECT_TRUE(c.IsEnded());
  EXPECT_FALSE(b.IsEnded());
}

TEST(OpenConnections, ThatWereClosedSinceTheLookLeaveTheirPlace) {
  OpenConnections open(2, kNone);
  Connection a = ConnectFrom("127.0.0.1");
  const Connection b = ConnectFrom("127.0.0.1");
  open.Add(a.server.get());
  open.Add(b.server.get());
  MakeSilentForLonger(b, a);
  const Connection newcomer = ConnectFrom("127.0.0.2"), another = ConnectFrom("127.0.0.2");
  EXPECT_EQ(open.MakeRoom(newcomer.server.get(), Moment(1)), Room::kEvicted);
  EXPECT_TRUE(b.IsEnded());
  open.Add(newcomer.server.get());
  a.server = FileDescriptor();
  EXPECT_EQ(open.MakeRoom(another.server.get(), Moment(1)), Room::kFree);
  EXPECT_FALSE(newcomer.IsEnded());
}

TEST(OpenConnections, AreLookedAtOnceInTenMilliseconds) {
  OpenConnections open(1, kNone);
  const Connection silent = ConnectFrom("127.0.0.1");
  open.Add(silent.server.get());
  const Connection first = ConnectFrom("127.0.0.1"), second = ConnectFrom("127.0.0.1");
  EXPECT_EQ(open.MakeRoom(first.server.get(), Moment(1)), Room::kEvicted);
  open.Add(first.server.get());
  EXPECT_EQ(open.MakeRoom(second.server.get(), Moment(1) + milliseconds(9)), Room::kNone);
  EXPECT_EQ(open.MakeRoom(second.server.get(), Moment(1) + milliseconds(10)), Room::kEvicted);
}

TEST(OpenConnections, OverUnixSocketsNeverGiveWay) {
  OpenConnections open(1, kNone);
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const Connection local{FileDescriptor(pair[0]), FileDescriptor(pair[1])};
  open.Add(local.server.get());
  const Connection newcomer = ConnectFrom("127.0.0.1");
  EXPECT_EQ(open.MakeRoom(newcomer.server.get(), Moment(1)), Room::kNone);
  EXPECT_FALSE(local.IsEnded());
}

}  // namespace
}  // namespace kldiv::server
