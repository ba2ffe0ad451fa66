// The real server's TLS and tokens, through the client library and the tool.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client/include/kldiv/client.h"
#include "tests/client/real_server.h"
#include "tests/client/small_pair.h"
#include "tests/security/certificate_authority.h"
#include "tests/server/child_process.h"
#include "tests/testing/temporary_folder.h"

namespace kldiv {
namespace {

using client_testing::RealServer;
using client_testing::SmallPair;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::CertificateAuthority;
using testing::KeyPair;
using testing::TemporaryFolder;
using Code = absl::StatusCode;

class SecurityTest : public ::testing::Test {
 protected:
  SecurityTest() {
    WriteServerPair(old_ca_.Issue());
    folder_.Write("old_ca.pem", old_ca_.certificate());
    folder_.Write("new_ca.pem", new_ca_.certificate());
    folder_.Write("both_cas.pem", old_ca_.certificate() + new_ca_.certificate());
    folder_.Write("tokens", "alice:alices-token\nbob:bobs-token\n");
    folder_.Write("alice", "alices-token\n");
    folder_.Write("bob", "bobs-token\n");
  }

  void WriteServerPair(const KeyPair& pair) {
    folder_.Write("server.pem", pair.certificate);
    folder_.Write("server.key", pair.private_key);
  }

  std::vector<std::string> TlsFlags() const {
    return {"--tls_cert=" + (folder_ / "server.pem"), "--tls_key=" + (folder_ / "server.key")};
  }
  ClientOptions Options(const RealServer& server, const std::string& ca = "") const {
    ClientOptions options;
    options.server = server.address();
    options.tls = !ca.empty();
    if (!ca.empty()) options.server_ca = folder_ / ca;
    return options;
  }
  ClientOptions WithToken(ClientOptions options, const std::string& file) const {
    options.token_file = folder_ / file;
    return options;
  }

  // Of one call over a connection of its own.
  static absl::Status Evaluate(const ClientOptions& options) {
    const absl::StatusOr<std::unique_ptr<Client>> client = Client::Create(options);
    return client.ok() ? (*client)->Evaluate(SmallPair()).status() : client.status();
  }

  // Waits until a call over a new connection ends with `code`, for ten seconds at most; the time that it
  // took.
  static steady_clock::duration WaitFor(const ClientOptions& options, Code code) {
    const auto begin = steady_clock::now();
    while (Evaluate(options).code() != code) {
      if (steady_clock::now() - begin > seconds(10)) {
        ADD_FAILURE() << "it never came";
        break;
      }
    }
    return steady_clock::now() - begin;
  }

  TemporaryFolder folder_;
  CertificateAuthority old_ca_{"old"};
  CertificateAuthority new_ca_{"new"};
};

// Calls all the time, some over a connection of their own, until it goes; none may fail.
class Load {
 public:
  explicit Load(const ClientOptions& options) {
    thread_ = std::thread([this, options] {
      const std::unique_ptr<Client> client = *Client::Create(options);
      while (!stop_) {
        const absl::Status old_connection = client->Evaluate(SmallPair()).status();
        EXPECT_TRUE(old_connection.ok()) << old_connection;
        const absl::Status new_connection = (*Client::Create(options))->Evaluate(SmallPair()).status();
        EXPECT_TRUE(new_connection.ok()) << new_connection;
        calls_ += 2;
      }
    });
  }
  ~Load() {
    stop_ = true;
    thread_.join();
    EXPECT_GT(calls_, 0);
  }
  void WaitForCalls(int calls) const {
    const int enough = calls_ + calls;
    while (calls_ < enough) std::this_thread::yield();
  }

 private:
  std::atomic<bool> stop_ = false;
  std::atomic<int> calls_ = 0;
  std::thread thread_;
};

TEST_F(SecurityTest, ServesOverTlsAloneWhereItHasACertificate) {
  const RealServer server(TlsFlags());
  EXPECT_TRUE(Evaluate(Options(server, "old_ca.pem")).ok());
  EXPECT_EQ(Evaluate(Options(server, "new_ca.pem")).code(), Code::kUnavailable);
  EXPECT_EQ(Evaluate(Options(server)).code(), Code::kUnavailable);
}

TEST_F(SecurityTest, AsksClientsForCertificates) {
  const CertificateAuthority clients("clients");
  std::vector<std::string> flags = TlsFlags();
  flags.push_back("--tls_client_ca=" + folder_.Write("clients.pem", clients.certificate()));
  const RealServer server(flags);
  ClientOptions options = Options(server, "old_ca.pem");
  EXPECT_EQ(Evaluate(options).code(), Code::kUnavailable);
  KeyPair pair = CertificateAuthority("others").Issue();
  options.client_cert = folder_.Write("client.pem", pair.certificate);
  options.client_key = folder_.Write("client.key", pair.private_key);
  EXPECT_EQ(Evaluate(options).code(), Code::kUnavailable);
  pair = clients.Issue();
  folder_.Write("client.pem", pair.certificate);
  folder_.Write("client.key", pair.private_key);
  EXPECT_TRUE(Evaluate(options).ok());
}

TEST_F(SecurityTest, ChangesCertificatesUnderLoadWithoutAFailedCall) {
  const RealServer server(TlsFlags());
  const Load load(Options(server, "both_cas.pem"));
  const KeyPair next = new_ca_.Issue();
  // Half done, then broken: the old pair stays.
  folder_.Write("server.pem", next.certificate);
  load.WaitForCalls(100);
  folder_.Write("server.key", next.private_key.substr(0, 60));
  load.WaitForCalls(100);
  folder_.Remove("server.key");
  load.WaitForCalls(100);
  EXPECT_TRUE(Evaluate(Options(server, "old_ca.pem")).ok());
  folder_.Write("server.key", next.private_key);
  WaitFor(Options(server, "new_ca.pem"), Code::kOk);
  EXPECT_EQ(Evaluate(Options(server, "old_ca.pem")).code(), Code::kUnavailable);
  load.WaitForCalls(100);
}

TEST_F(SecurityTest, LetsInThoseWithATokenAlone) {
  const RealServer server({"--token_file=" + (folder_ / "tokens")});
  EXPECT_TRUE(Evaluate(WithToken(Options(server), "alice")).ok());
  for (const char* const wrong : {"alices-toke", "alices-token-", "alice", "bobs-tokem", "Bearer"}) {
    folder_.Write("wrong", wrong);
    const absl::Status status = Evaluate(WithToken(Options(server), "wrong"));
    EXPECT_EQ(status.code(), Code::kUnauthenticated);
    EXPECT_EQ(status.message(), Evaluate(Options(server)).message()) << "something is learnt from it";
  }
  const std::unique_ptr<Client> without = *Client::Create(Options(server));
  EXPECT_EQ(without->GetServerInfo().status().code(), Code::kUnauthenticated);
  EXPECT_EQ(*without->CheckHealth(), Health::kServing);
}

TEST_F(SecurityTest, TurnsATokenAwayWithinTwoSecondsOfItsRemoval) {
  std::vector<std::string> flags = TlsFlags();
  flags.push_back("--token_file=" + (folder_ / "tokens"));
  const RealServer server(flags);
  const ClientOptions alice = WithToken(Options(server, "old_ca.pem"), "alice");
  const Load load(WithToken(Options(server, "old_ca.pem"), "bob"));
  const std::unique_ptr<Client> client = *Client::Create(alice);
  const std::unique_ptr<Stream> stream = *client->OpenStream();
  ASSERT_TRUE(stream->Write(SmallPair(), 1).ok());
  ASSERT_TRUE(stream->Read().ok());

  folder_.Write("tokens", "bob:bobs-token\nalice");  // Half a line: the old ones stay.
  load.WaitForCalls(50);
  EXPECT_TRUE(Evaluate(alice).ok());
  const auto begin = steady_clock::now();
  folder_.Replace("tokens", "bob:bobs-token\n");
  EXPECT_EQ(stream->Read().status().code(), Code::kUnauthenticated);
  EXPECT_LE(steady_clock::now() - begin, seconds(2));
  EXPECT_EQ(Evaluate(alice).code(), Code::kUnauthenticated);
}

TEST_F(SecurityTest, IsReachedByTheToolWithTheSameFlags) {
  std::vector<std::string> flags = TlsFlags();
  flags.push_back("--token_file=" + (folder_ / "tokens"));
  const RealServer server(flags);
  server::ChildProcess info({KLDIV_TOOL, "info", "--server=" + server.address(), "--tls",
                             "--server_ca=" + (folder_ / "old_ca.pem"),
                             "--client_token_file=" + (folder_ / "bob")});
  EXPECT_EQ(info.Wait(), 0);
  server::ChildProcess without({KLDIV_TOOL, "info", "--server=" + server.address(), "--tls",
                                "--server_ca=" + (folder_ / "old_ca.pem")});
  EXPECT_EQ(without.Wait(), 1);
}

}  // namespace
}  // namespace kldiv
