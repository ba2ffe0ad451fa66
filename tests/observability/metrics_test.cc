#include "server/observability/metrics.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <string>

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

// The whole answer to GET `path`.
std::string Get(const MetricsServer& server, const std::string& path) {
  const FileDescriptor fd = Connect(Address(server.address()).port);
  const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
  EXPECT_EQ(send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t n = 0; (n = recv(fd.get(), buffer, sizeof buffer, 0)) > 0;)
    answer.append(buffer, static_cast<size_t>(n));
  return answer;
}

TEST(Metrics, AreShownInPrometheusFormatWithOneHelpForEachName) {
  const auto server = MetricsServer::Start(Address("127.0.0.1:0"), [] {
    return std::vector<Metric>{
        {"kldiv_pairs_total", "Pairs.", Metric::Type::kCounter, {{"outcome", "ok"}}, 12345678},
        {"kldiv_queue_bytes", "Bytes in the queue.", Metric::Type::kGauge, {}, 7},
        {"kldiv_pairs_total", "Pairs.", Metric::Type::kCounter, {{"outcome", "a \"b\""}}, 2},
    };
  });
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string answer = Get(**server, "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("# HELP kldiv_pairs_total Pairs.\n"
                                "# TYPE kldiv_pairs_total counter\n"
                                "kldiv_pairs_total{outcome=\"ok\"} 12345678\n"
                                "kldiv_pairs_total{outcome=\"a \\\"b\\\"\"} 2\n"));
  EXPECT_THAT(answer, HasSubstr("# TYPE kldiv_queue_bytes gauge\nkldiv_queue_bytes 7\n"));
}

TEST(Metrics, AreASnapshotOfEachScrape) {
  std::atomic<int> scrapes{0};
  const auto server = MetricsServer::Start(Address("127.0.0.1:0"), [&] {
    return std::vector<Metric>{{"scrapes", "", Metric::Type::kGauge, {}, static_cast<double>(++scrapes)}};
  });
  ASSERT_TRUE(server.ok());
  EXPECT_EQ(scrapes, 0);  // Nothing is counted between scrapes.
  EXPECT_THAT(Get(**server, "/metrics"), HasSubstr("\nscrapes 1\n"));
  EXPECT_THAT(Get(**server, "/metrics"), HasSubstr("\nscrapes 2\n"));
}

TEST(Metrics, AreTheOnlyThingShown) {
  const auto server = MetricsServer::Start(Address("127.0.0.1:0"), [] { return std::vector<Metric>{}; });
  ASSERT_TRUE(server.ok());
  EXPECT_THAT(Get(**server, "/"), Not(HasSubstr(" 200 ")));
  EXPECT_THAT(Get(**server, "/etc/passwd"), Not(HasSubstr(" 200 ")));
}

TEST(Metrics, TellTheRealPort) {
  const auto server = MetricsServer::Start(Address("localhost:0"), [] { return std::vector<Metric>{}; });
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT((*server)->address(), StartsWith("localhost:"));
  EXPECT_NE((*server)->address(), "localhost:0");
}

TEST(Metrics, RefuseAPortThatIsTakenAndSayWhy) {
  const auto first = MetricsServer::Start(Address("127.0.0.1:0"), [] { return std::vector<Metric>{}; });
  ASSERT_TRUE(first.ok());
  const std::string taken = (*first)->address();
  const auto second = MetricsServer::Start(Address(taken), [] { return std::vector<Metric>{}; });
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.status().message()), AllOf(StartsWith(taken + ": "), HasSubstr("in use")));
}

TEST(Metrics, AreGoneWithTheirServer) {
  auto server = MetricsServer::Start(Address("127.0.0.1:0"), [] { return std::vector<Metric>{}; });
  ASSERT_TRUE(server.ok());
  const int port = Address((*server)->address()).port;
  ASSERT_TRUE(Connect(port).valid());
  server->reset();
  EXPECT_FALSE(Connect(port).valid());
}

}  // namespace
}  // namespace kldiv::server
