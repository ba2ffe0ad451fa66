#include "server/net/listen_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace kldiv::server {
namespace {

using ::testing::HasSubstr;

struct Tcp {
  const char* text;
  const char* host;
  int port;
};

TEST(ListenAddress, ReadsHostsAndPortsAndWritesThemAgain) {
  for (const Tcp& row : {Tcp{"127.0.0.1:50051", "127.0.0.1", 50051}, Tcp{"localhost:0", "localhost", 0},
                         Tcp{"[::1]:65535", "::1", 65535}, Tcp{"[::]:1", "::", 1}}) {
    const auto address = ParseListenAddress(row.text);
    ASSERT_TRUE(address.ok()) << row.text;
    EXPECT_TRUE(address->is_tcp());
    EXPECT_EQ(address->host, row.host);
    EXPECT_EQ(address->port, row.port);
    EXPECT_EQ(address->ToString(), row.text);
  }
}

TEST(ListenAddress, IsLoopbackWhereNoOtherMachineCanReachIt) {
  for (const char* text : {"127.0.0.1:1", "127.255.0.9:1", "localhost:1", "[::1]:1", "[0:0::1]:1"})
    EXPECT_TRUE(ParseListenAddress(text)->is_loopback()) << text;
  for (const char* text : {"0.0.0.0:1", "128.0.0.1:1", "[::]:1", "[::ffff:127.0.0.1]:1",
                           "127.0.0.1.example.com:1", "localhost.example.com:1", "unix:/localhost"})
    EXPECT_FALSE(ParseListenAddress(text)->is_loopback()) << text;
}

TEST(ListenAddress, ReadsPathsOfUnixSockets) {
  const auto address = ParseListenAddress("unix:/run/a:b.sock");
  ASSERT_TRUE(address.ok());
  EXPECT_FALSE(address->is_tcp());
  EXPECT_EQ(address->path, "/run/a:b.sock");
  EXPECT_EQ(address->ToString(), "unix:/run/a:b.sock");
}

TEST(ListenAddress, RefusesWhatIsNoneAndSaysWhatItExpected) {
  const std::pair<std::string, const char*> table[] = {
      {"", "expected HOST:PORT"},
      {"50051", "expected HOST:PORT"},
      {"localhost", "expected HOST:PORT"},
      {":50051", "expected a host"},
      {"[]:50051", "expected a host"},
      {"::1:50051", "needs brackets"},
      {"[::1:50051", "expected HOST:PORT"},
      {"::1]:50051", "expected HOST:PORT"},
      {"localhost:", "a port is a number"},
      {"localhost:http", "a port is a number"},
      {"localhost:-1", "a port is a number"},
      {"localhost:+1", "a port is a number"},
      {"localhost:65536", "a port is a number"},
      {"localhost:99999999999", "a port is a number"},
      {"unix:", "expected a path"},
      {"unix:/" + std::string(107, 'x'), "at most 107 bytes, this one 108"},
  };
  for (const auto& [text, expected] : table) {
    const absl::Status status = ParseListenAddress(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(expected)) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("\"" + text + "\"")) << text;
  }
}

}  // namespace
}  // namespace kldiv::server
