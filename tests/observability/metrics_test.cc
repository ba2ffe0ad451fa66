#include "server/observability/metrics.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/net/listening_socket.h"

namespace kldiv::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

ListenAddress Address(const std::string& text) { return ParseListenAddress(text).value(); }

// A connection to 127.0.0.1:`port`; invalid when nobody listens.
FileDescriptor Connect(int port) {
  FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(static_cast<uint16_t>(port));
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) != 0) return FileDescriptor();
  return fd;
}

FileDescriptor ConnectIPv6(int port) {
  FileDescriptor fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  name.sin6_port = htons(static_cast<uint16_t>(port));
  name.sin6_addr = in6addr_loopback;
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) != 0) return FileDescriptor();
  return fd;
}

// A server that shows `snapshot`, which is nothing unless it is given.
absl::StatusOr<std::unique_ptr<MetricsServer>> Serve(
    const ListenAddress& address, MetricsServer::Snapshot snapshot = [] { return std::vector<Metric>{}; }) {
  auto server = MetricsServer::Open(address);
  if (server.ok()) (*server)->Start(std::move(snapshot));
  return server;
}

// The whole answer to `request` over `fd`.
std::string Exchange(const FileDescriptor& fd, const std::string& request) {
  EXPECT_EQ(send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t n = 0; (n = recv(fd.get(), buffer, sizeof buffer, 0)) > 0;)
    answer.append(buffer, static_cast<size_t>(n));
  return answer;
}

// The whole answer to GET `path`.
std::string Get(const MetricsServer& server, const std::string& path) {
  return Exchange(Connect(Address(server.address()).port), "GET " + path + " HTTP/1.0\r\n\r\n");
}

TEST(Metrics, AreShownInPrometheusFormatWithOneHelpForEachName) {
  const auto server = Serve(Address("127.0.0.1:0"), [] {
    return std::vector<Metric>{
        {"kldiv_pairs_total", "Pairs.", Metric::Type::kCounter, {{"outcome", "ok"}}, 12345678, {}, {}},
        {"kldiv_queue_bytes", "Bytes in the queue.", Metric::Type::kGauge, {}, 7, {}, {}},
        {"kldiv_pairs_total", "Pairs.", Metric::Type::kCounter, {{"outcome", "a \"b\""}}, 2, {}, {}},
    };
  });
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string answer = Get(**server, "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.0 200"));
  EXPECT_THAT(answer, HasSubstr("# HELP kldiv_pairs_total Pairs.\n"
                                "# TYPE kldiv_pairs_total counter\n"
                                "kldiv_pairs_total{outcome=\"ok\"} 12345678\n"
                                "kldiv_pairs_total{outcome=\"a \\\"b\\\"\"} 2\n"));
  EXPECT_THAT(answer, HasSubstr("# TYPE kldiv_queue_bytes gauge\nkldiv_queue_bytes 7\n"));
}

TEST(Metrics, AreASnapshotOfEachScrape) {
  std::atomic<int> scrapes{0};
  const auto server = Serve(Address("127.0.0.1:0"), [&] {
    return std::vector<Metric>{
        {"scrapes", "", Metric::Type::kGauge, {}, static_cast<double>(++scrapes), {}, {}}};
  });
  ASSERT_TRUE(server.ok());
  EXPECT_EQ(scrapes, 0);  // Nothing is counted between scrapes.
  EXPECT_THAT(Get(**server, "/metrics"), HasSubstr("\nscrapes 1\n"));
  EXPECT_THAT(Get(**server, "/metrics"), HasSubstr("\nscrapes 2\n"));
}

TEST(Metrics, AreTheOnlyThingShown) {
  const auto server = Serve(Address("127.0.0.1:0"));
  ASSERT_TRUE(server.ok());
  EXPECT_THAT(Get(**server, "/"), Not(HasSubstr(" 200 ")));
  EXPECT_THAT(Get(**server, "/etc/passwd"), Not(HasSubstr(" 200 ")));
}

TEST(Metrics, TellTheRealPort) {
  const auto server = Serve(Address("localhost:0"));
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT((*server)->address(), StartsWith("localhost:"));
  EXPECT_NE((*server)->address(), "localhost:0");
}

TEST(Metrics, RefuseAPortThatIsTakenAndSayWhy) {
  const auto first = Serve(Address("127.0.0.1:0"));
  ASSERT_TRUE(first.ok());
  const std::string taken = (*first)->address();
  const auto second = MetricsServer::Open(Address(taken));
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.status().message()), AllOf(StartsWith(taken + ": "), HasSubstr("in use")));
}

TEST(Metrics, ShowAHistogramWithBucketsThatCountAllUpToTheirBound) {
  Metric metric{"wait_seconds", "Waiting.", Metric::Type::kHistogram, {{"lane", "cpu"}}, 12.5,
                {0.5, 1},       {3, 0, 2}};
  EXPECT_EQ(PrometheusText({metric}),
            "# HELP wait_seconds Waiting.\n"
            "# TYPE wait_seconds histogram\n"
            "wait_seconds_count{lane=\"cpu\"} 5\n"
            "wait_seconds_sum{lane=\"cpu\"} 12.5\n"
            "wait_seconds_bucket{lane=\"cpu\",le=\"0.5\"} 3\n"
            "wait_seconds_bucket{lane=\"cpu\",le=\"1\"} 3\n"
            "wait_seconds_bucket{lane=\"cpu\",le=\"+Inf\"} 5\n");
}

TEST(Metrics, AreShownOverIPv6) {
  const auto server = Serve(Address("[::1]:0"));
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT((*server)->address(), StartsWith("[::1]:"));
  const FileDescriptor fd = ConnectIPv6(Address((*server)->address()).port);
  EXPECT_THAT(Exchange(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 200"));
}

TEST(Metrics, RefuseWhatIsNoQuestion) {
  const auto server = Serve(Address("127.0.0.1:0"));
  ASSERT_TRUE(server.ok());
  const int port = Address((*server)->address()).port;
  EXPECT_THAT(Exchange(Connect(port), "DELETE /metrics HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 405"));
  EXPECT_EQ(Exchange(Connect(port), "nonsense\r\n\r\n"), "");
  EXPECT_EQ(Exchange(Connect(port), "GET /metrics HTTP/1.0\r\nx: " + std::string(10'000, 'y')), "");
  EXPECT_THAT(Get(**server, "/metrics"), StartsWith("HTTP/1.0 200"));
}

TEST(Metrics, AreShownWhileOthersConnectAndSayNothing) {
  const auto server = Serve(Address("127.0.0.1:0"));
  ASSERT_TRUE(server.ok());
  std::vector<FileDescriptor> silent;
  for (int i = 0; i < 40; ++i) {
    silent.push_back(Connect(Address((*server)->address()).port));
    ASSERT_EQ(send(silent.back().get(), "G", 1, MSG_NOSIGNAL), 1);
  }
  EXPECT_THAT(Get(**server, "/metrics"), StartsWith("HTTP/1.0 200"));
}

TEST(Metrics, EndAtOnceAlthoughSomebodyHasNotFinishedAsking) {
  auto server = Serve(Address("127.0.0.1:0"));
  ASSERT_TRUE(server.ok());
  const FileDescriptor fd = Connect(Address((*server)->address()).port);
  ASSERT_EQ(send(fd.get(), "GET /met", 8, MSG_NOSIGNAL), 8);
  EXPECT_THAT(Get(**server, "/metrics"), StartsWith("HTTP/1.0 200"));  // so it has been accepted
  const auto start = std::chrono::steady_clock::now();
  server->reset();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));  // of 5 that it would have
}

TEST(Metrics, AreGoneWithTheirServer) {
  auto server = Serve(Address("127.0.0.1:0"));
  ASSERT_TRUE(server.ok());
  const int port = Address((*server)->address()).port;
  ASSERT_TRUE(Connect(port).valid());
  server->reset();
  EXPECT_FALSE(Connect(port).valid());
}

}  // namespace
}  // namespace kldiv::server
