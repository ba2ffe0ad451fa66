#include "server/net/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/base/mutex.h"
#include "server/net/listening_socket.h"

namespace kldiv::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::chrono::seconds kGenerous{30};

ListenAddress Address(const std::string& text) {
  const auto address = ParseListenAddress(text);
  EXPECT_TRUE(address.ok()) << address.status();
  return *address;
}

absl::StatusOr<std::unique_ptr<Listener>> Open(const std::vector<std::string>& texts) {
  std::vector<ListenAddress> addresses;
  for (const std::string& text : texts) addresses.push_back(Address(text));
  return Listener::Open(addresses);
}

// What the listener hands over: kept open until it is told to close it.
class Connections {
 public:
  struct Connection {
    FileDescriptor fd;
    bool is_tcp = false;
  };

  Listener::Handover handover() {
    return [this](int, int fd, bool is_tcp) {
      MutexLock lock(mu_);
      connections_.push_back({FileDescriptor(fd), is_tcp});
      changed_.NotifyAll();
    };
  }

  // Waits until there were `count`; false: not in time.
  bool WaitFor(size_t count) {
    const auto end = std::chrono::steady_clock::now() + kGenerous;
    MutexLock lock(mu_);
    while (connections_.size() < count) {
      if (!changed_.WaitUntil(mu_, end)) return connections_.size() >= count;
    }
    return true;
  }

  const Connection& at(size_t index) {
    MutexLock lock(mu_);
    return connections_.at(index);
  }
  void Close(size_t index) {
    MutexLock lock(mu_);
    connections_.at(index).fd = FileDescriptor();
  }
  size_t size() {
    MutexLock lock(mu_);
    return connections_.size();
  }

 private:
  Mutex mu_;
  CondVar changed_;
  std::vector<Connection> connections_ KLDIV_GUARDED_BY(mu_);
};

// A client's socket, connected by Connect; says something at once, as HTTP/2 clients do.
class Client {
 public:
  explicit Client(const std::string& address) : address_(Address(address)) {
    fd_ = FileDescriptor(socket(address_.is_tcp() ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_TRUE(fd_.valid());
  }

  bool Connect() {
    const bool connected = address_.is_tcp() ? ConnectTcp() : ConnectUnix();
    (void)send(fd_.get(), "hello", 5, MSG_NOSIGNAL);  // A peer that closes at once is seen by SeesTheEnd.
    return connected;
  }

  // Waits for the peer's closing; false: not in time.
  bool SeesTheEnd() {
    pollfd polled{fd_.get(), POLLIN, 0};
    char byte = 0;
    return poll(&polled, 1, 30'000) == 1 && recv(fd_.get(), &byte, 1, 0) <= 0;
  }

 private:
  bool ConnectTcp() {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(static_cast<uint16_t>(address_.port));
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(fd_.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) == 0;
  }
  bool ConnectUnix() {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    address_.path.copy(name.sun_path, sizeof name.sun_path - 1);
    return connect(fd_.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) == 0;
  }

  const ListenAddress address_;
  FileDescriptor fd_;
};

class ListenerTest : public ::testing::Test {
 protected:
  ListenerTest() {
    std::string name = (std::filesystem::temp_directory_path() / "kldiv-listener-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~ListenerTest() override { std::filesystem::remove_all(folder_); }

  std::string SocketPath() const { return (folder_ / "k.sock").string(); }
  std::string UnixAddress() const { return "unix:" + SocketPath(); }

  std::filesystem::path folder_;
};

TEST_F(ListenerTest, TellsTheRealPortAndHandsConnectionsOver) {
  const auto listener = Open({"127.0.0.1:0"});
  ASSERT_TRUE(listener.ok()) << listener.status();
  ASSERT_THAT((*listener)->addresses(), ElementsAre(StartsWith("127.0.0.1:")));
  EXPECT_NE((*listener)->addresses()[0], "127.0.0.1:0");

  Connections connections;
  (*listener)->Start(10, connections.handover());
  Client client((*listener)->addresses()[0]);
  ASSERT_TRUE(client.Connect());
  ASSERT_TRUE(connections.WaitFor(1));
  EXPECT_TRUE(connections.at(0).is_tcp);
  EXPECT_EQ((*listener)->counters().accepted, 1);
  (*listener)->Close();
}

TEST_F(ListenerTest, SetsWhatGrpcWouldNotSetOnForeignConnections) {
  const auto listener = Open({"127.0.0.1:0"});
  ASSERT_TRUE(listener.ok());
  Connections connections;
  (*listener)->Start(10, connections.handover());
  Client client((*listener)->addresses()[0]);
  ASSERT_TRUE(client.Connect());
  ASSERT_TRUE(connections.WaitFor(1));
  const int fd = connections.at(0).fd.get();
  int value = 0;
  socklen_t size = sizeof value;
  ASSERT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
  EXPECT_NE(value, 0);
  ASSERT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &size), 0);
  EXPECT_EQ(value, 20'000);
  ASSERT_EQ(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &size), 0);
  EXPECT_NE(value, 0);
  ASSERT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &size), 0);
  EXPECT_EQ(value, 30);
  ASSERT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &value, &size), 0);
  EXPECT_EQ(value, 10);
  EXPECT_NE(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  (*listener)->Close();
}

TEST_F(ListenerTest, ListensOnEveryAddressOfAName) {
  const auto listener = Open({"localhost:0"});
  ASSERT_TRUE(listener.ok()) << listener.status();
  const ListenAddress real = Address((*listener)->addresses()[0]);
  EXPECT_EQ(real.host, "localhost");
  Connections connections;
  (*listener)->Start(10, connections.handover());
  Client client("127.0.0.1:" + std::to_string(real.port));
  ASSERT_TRUE(client.Connect());
  EXPECT_TRUE(connections.WaitFor(1));
  (*listener)->Close();
}

TEST_F(ListenerTest, RefusesAPortThatIsTaken) {
  const auto first = Open({"127.0.0.1:0"});
  ASSERT_TRUE(first.ok());
  const std::string& taken = (*first)->addresses()[0];
  const absl::Status second = Open({taken}).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.message()), AllOf(HasSubstr(taken), HasSubstr("in use")));
}

TEST_F(ListenerTest, ReportsANameWithoutAnAddress) {
  const std::string name(70, 'x');  // Longer than DNS allows: answered without asking anyone.
  const absl::Status status = Open({name + ":0"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), StartsWith(name + ":0: "));
}

TEST_F(ListenerTest, ReportsAnAddressOfAnotherMachine) {
  const absl::Status status = Open({"192.0.2.1:0"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), StartsWith("192.0.2.1:0: "));
}

TEST_F(ListenerTest, ServesUnixSocketsThatOnlyTheOwnerMayOpen) {
  const auto listener = Open({UnixAddress()});
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_THAT((*listener)->addresses(), ElementsAre(UnixAddress()));
  struct stat status {};
  ASSERT_EQ(lstat(SocketPath().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);

  Connections connections;
  (*listener)->Start(10, connections.handover());
  Client client(UnixAddress());
  ASSERT_TRUE(client.Connect());
  ASSERT_TRUE(connections.WaitFor(1));
  EXPECT_FALSE(connections.at(0).is_tcp);
  (*listener)->Close();
  EXPECT_FALSE(std::filesystem::exists(SocketPath()));
}

TEST_F(ListenerTest, RefusesAUnixSocketThatIsTaken) {
  const auto first = Open({UnixAddress()});
  ASSERT_TRUE(first.ok());
  const absl::Status second = Open({UnixAddress()}).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.message()), HasSubstr(UnixAddress()));
  EXPECT_TRUE(std::filesystem::exists(SocketPath()));
}

// Binds a Unix socket the way any other program would: without a lock file.
FileDescriptor BindForeign(const std::string& path, bool listening) {
  FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  if (listening) {
    EXPECT_EQ(listen(fd.get(), 1), 0);
  }
  return fd;
}

TEST_F(ListenerTest, ReplacesTheSocketOfADeadServer) {
  { const FileDescriptor dead = BindForeign(SocketPath(), /*listening=*/true); }
  ASSERT_TRUE(std::filesystem::exists(SocketPath()));
  const auto listener = Open({UnixAddress()});
  EXPECT_TRUE(listener.ok()) << listener.status();
}

TEST_F(ListenerTest, LeavesTheSocketOfAnotherLivingProgramAlone) {
  const FileDescriptor living = BindForeign(SocketPath(), /*listening=*/true);
  EXPECT_EQ(Open({UnixAddress()}).status().code(), absl::StatusCode::kAlreadyExists);
  Client client(UnixAddress());
  EXPECT_TRUE(client.Connect());
}

TEST_F(ListenerTest, LeavesAFileThatIsNoSocketAlone) {
  { std::ofstream(SocketPath()) << "precious"; }
  EXPECT_EQ(Open({UnixAddress()}).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(std::filesystem::file_size(SocketPath()), 8U);
}

TEST_F(ListenerTest, ReportsAFolderThatIsMissing) {
  const absl::Status status = Open({"unix:" + (folder_ / "missing" / "k.sock").string()}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("k.sock.lock: No such file"));
}

TEST_F(ListenerTest, ClosesTheFirstSocketWhenTheSecondCannotBeHad) {
  EXPECT_FALSE(Open({UnixAddress(), "192.0.2.1:0"}).ok());
  EXPECT_FALSE(std::filesystem::exists(SocketPath()));
  EXPECT_TRUE(Open({UnixAddress()}).ok());
}

TEST_F(ListenerTest, ClosesConnectionsBeyondTheMaximumAndTakesNewOnesWhenOldOnesEnd) {
  const auto listener = Open({UnixAddress()});
  ASSERT_TRUE(listener.ok());
  Connections connections;
  (*listener)->Start(2, connections.handover());
  Client first(UnixAddress()), second(UnixAddress()), third(UnixAddress());
  ASSERT_TRUE(first.Connect() && second.Connect());
  ASSERT_TRUE(connections.WaitFor(2));
  ASSERT_TRUE(third.Connect());
  EXPECT_TRUE(third.SeesTheEnd());
  EXPECT_EQ((*listener)->counters().refused, 1);

  connections.Close(0);
  // The listener looks for closed connections only now and then: a client that is early tries again.
  const auto end = std::chrono::steady_clock::now() + kGenerous;
  while (connections.size() < 3 && std::chrono::steady_clock::now() < end) {
    const int64_t seen = (*listener)->counters().accepted + (*listener)->counters().refused;
    Client client(UnixAddress());
    ASSERT_TRUE(client.Connect());
    while ((*listener)->counters().accepted + (*listener)->counters().refused == seen)
      std::this_thread::yield();
  }
  EXPECT_TRUE(connections.WaitFor(3));
  (*listener)->Close();
}

// Lowers the limit of open files so that no further one can be opened, until it is destroyed.
class NoMoreDescriptors {
 public:
  NoMoreDescriptors() {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    rlimit none = before_;
    none.rlim_cur = 0;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  ~NoMoreDescriptors() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }

  NoMoreDescriptors(const NoMoreDescriptors&) = delete;
  NoMoreDescriptors& operator=(const NoMoreDescriptors&) = delete;

 private:
  rlimit before_{};
};

TEST_F(ListenerTest, SurvivesTheWantOfDescriptors) {
  const auto listener = Open({UnixAddress()});
  ASSERT_TRUE(listener.ok());
  Connections connections;
  (*listener)->Start(10, connections.handover());
  Client client(UnixAddress());  // Its own descriptor is there before the want begins.
  {
    const NoMoreDescriptors want;
    ASSERT_TRUE(client.Connect());
    const auto end = std::chrono::steady_clock::now() + kGenerous;
    while ((*listener)->counters().accept_errors == 0 && std::chrono::steady_clock::now() < end) {
      std::this_thread::yield();
    }
    EXPECT_GE((*listener)->counters().accept_errors, 1);
    EXPECT_EQ(connections.size(), 0U);
  }
  EXPECT_TRUE(connections.WaitFor(1));
  (*listener)->Close();
}

TEST_F(ListenerTest, RefusesConnectionsOnceItIsClosedAndMayBeClosedAgain) {
  const auto listener = Open({"127.0.0.1:0", UnixAddress()});
  ASSERT_TRUE(listener.ok());
  Connections connections;
  (*listener)->Start(10, connections.handover());
  Client before((*listener)->addresses()[0]);
  ASSERT_TRUE(before.Connect());
  ASSERT_TRUE(connections.WaitFor(1));
  (*listener)->Close();
  (*listener)->Close();
  EXPECT_FALSE(Client((*listener)->addresses()[0]).Connect());
  EXPECT_TRUE(connections.at(0).fd.valid());  // What was handed over lives on.
}

TEST_F(ListenerTest, KeepsClientsWaitingUntilItStarts) {
  const auto listener = Open({"127.0.0.1:0"});
  ASSERT_TRUE(listener.ok());
  Client early((*listener)->addresses()[0]);
  ASSERT_TRUE(early.Connect());
  Connections connections;
  (*listener)->Start(10, connections.handover());
  EXPECT_TRUE(connections.WaitFor(1));
  (*listener)->Close();
}

TEST(DescriptorLimit, IsRaisedToItsHardLimit) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = 64;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  const int raised = RaiseDescriptorLimit();
  rlimit after{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  EXPECT_GT(raised, 64);
  EXPECT_LE(raised, 1 << 20);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

}  // namespace
}  // namespace kldiv::server
