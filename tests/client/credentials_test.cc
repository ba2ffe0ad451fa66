#include "client/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client/include/kldiv/client.h"
#include "tests/client/fake_server.h"
#include "tests/client/small_pair.h"
#include "tests/security/certificate_authority.h"
#include "tests/testing/temporary_folder.h"

namespace kldiv {
namespace {

using client_testing::FakeServer;
using client_testing::SmallPair;
using ::testing::AllOf;
using testing::CertificateAuthority;
using ::testing::HasSubstr;
using testing::KeyPair;
using testing::TemporaryFolder;

// A fake server that notes the token of each call.
class CredentialsTest : public ::testing::Test {
 protected:
  void Serve(const std::shared_ptr<grpc::ServerCredentials>& credentials) {
    server_ = std::make_unique<FakeServer>("127.0.0.1:0", credentials);
    server_->evaluate = [this](grpc::ServerContext& context, const v1::EvaluateRequest&,
                               v1::EvaluateResponse& response) {
      Note(context);
      response.set_loss(0.25);
      return grpc::Status::OK;
    };
    server_->evaluate_batch = [this](grpc::ServerContext& context, const v1::EvaluateBatchRequest& request,
                                     v1::EvaluateBatchResponse& response) {
      Note(context);
      for (int i = 0; i < request.requests_size(); ++i)
        response.add_results()->mutable_response()->set_loss(1);
      return grpc::Status::OK;
    };
    server_->evaluate_stream = [this](grpc::ServerContext& context, FakeServer::ServerStream& stream) {
      const std::string token = Note(context);
      v1::EvaluateRequest request;
      while (stream.Read(&request)) {
        if (token == "Bearer gone") return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "no valid token");
        v1::EvaluateResult result;
        result.set_request_id(request.request_id());
        result.mutable_response()->set_request_id(request.request_id());
        result.mutable_response()->set_loss(0.5);
        stream.Write(result);
      }
      return grpc::Status::OK;
    };
  }

  // TLS with a certificate of `ca_`; with a `client_ca` clients have to show one, too.
  void ServeTls(const std::string& client_ca = "") {
    const KeyPair pair = ca_.Issue();
    grpc::SslServerCredentialsOptions options(
        client_ca.empty() ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                          : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    options.pem_key_cert_pairs.push_back({pair.private_key, pair.certificate});
    options.pem_root_certs = client_ca;
    Serve(grpc::SslServerCredentials(options));
  }

  ClientOptions TlsOptions() const {
    ClientOptions options;
    options.server = server_->address();
    options.tls = true;
    options.server_ca = folder_.Write("ca.pem", ca_.certificate());
    return options;
  }

  static absl::Status Evaluate(const ClientOptions& options) {
    const absl::StatusOr<std::unique_ptr<Client>> client = Client::Create(options);
    return client.ok() ? (*client)->Evaluate(SmallPair()).status() : client.status();
  }

  std::string Note(const grpc::ServerContext& context) {
    const auto found = context.client_metadata().find("authorization");
    const std::lock_guard lock(mu_);
    tokens_.emplace_back(found == context.client_metadata().end()
                             ? "none"
                             : std::string(found->second.data(), found->second.size()));
    return tokens_.back();
  }
  std::string LastToken() {
    const std::lock_guard lock(mu_);
    return tokens_.back();
  }

  TemporaryFolder folder_;
  CertificateAuthority ca_{"root"};
  std::mutex mu_;
  std::vector<std::string> tokens_;
  std::unique_ptr<FakeServer> server_;
};

TEST_F(CredentialsTest, ReachAServerThatProvesWhoItIs) {
  ServeTls();
  const absl::Status status = Evaluate(TlsOptions());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(LastToken(), "none");
}

TEST_F(CredentialsTest, ReachNoServerOfAnotherAuthorityAndNoneWithoutTls) {
  ServeTls();
  ClientOptions options = TlsOptions();
  options.server_ca = folder_.Write("other.pem", CertificateAuthority("other").certificate());
  EXPECT_EQ(Evaluate(options).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Evaluate({.server = server_->address()}).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(tokens_.empty());
}

TEST_F(CredentialsTest, ShowTheClientsCertificateWhereOneIsAskedFor) {
  const CertificateAuthority clients("clients");
  ServeTls(clients.certificate());
  ClientOptions options = TlsOptions();
  EXPECT_EQ(Evaluate(options).code(), absl::StatusCode::kUnavailable);
  const KeyPair pair = clients.Issue();
  options.client_cert = folder_.Write("client.pem", pair.certificate);
  options.client_key = folder_.Write("client.key", pair.private_key);
  const absl::Status status = Evaluate(options);
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(CredentialsTest, SendTheTokenWithEveryKindOfCall) {
  Serve(grpc::InsecureServerCredentials());
  const auto client =
      Client::Create({.server = server_->address(), .token_file = folder_.Write("token", "  secret\n")});
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE((*client)->Evaluate(SmallPair()).ok());
  ASSERT_TRUE((*client)->EvaluateFuture(SmallPair()).get().ok());
  const Pair pairs[] = {SmallPair()};
  ASSERT_TRUE((*client)->EvaluateBatch(pairs).ok());
  const auto stream = *(*client)->OpenStream();
  ASSERT_TRUE(stream->Write(SmallPair(), 1).ok());
  ASSERT_TRUE(stream->Read().ok());
  EXPECT_THAT(tokens_,
              ::testing::ElementsAre("Bearer secret", "Bearer secret", "Bearer secret", "Bearer secret"));
}

TEST_F(CredentialsTest, FollowTheTokenFileAndKeepTheLastGoodToken) {
  Serve(grpc::InsecureServerCredentials());
  const auto client =
      Client::Create({.server = server_->address(), .token_file = folder_.Write("token", "one")});
  ASSERT_TRUE(client.ok()) << client.status();
  folder_.Replace("token", "two");
  do {
    ASSERT_TRUE((*client)->Evaluate(SmallPair()).ok());
  } while (LastToken() == "Bearer one");
  EXPECT_EQ(LastToken(), "Bearer two");
  folder_.Replace("token", "two words");
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1100);
  while (std::chrono::steady_clock::now() < end) {
    ASSERT_TRUE((*client)->Evaluate(SmallPair()).ok());
    ASSERT_EQ(LastToken(), "Bearer two");
  }
}

// A token that never becomes valid ends the stream; one that has been replaced meanwhile does not.
TEST_F(CredentialsTest, HaveAStreamGoOnWithAReplacedToken) {
  Serve(grpc::InsecureServerCredentials());
  const ClientOptions options{.server = server_->address(), .token_file = folder_.Write("token", "gone")};
  const auto client = *Client::Create(options);
  const auto ends = *client->OpenStream();
  ASSERT_TRUE(ends->Write(SmallPair(), 1).ok());
  EXPECT_EQ(ends->Read().status().code(), absl::StatusCode::kUnauthenticated);

  std::unique_ptr<Client> other = *Client::Create(options);
  const auto goes_on = *other->OpenStream();
  folder_.Replace("token", "new");
  std::mutex once;
  server_->evaluate_stream = [&, serve = server_->evaluate_stream](grpc::ServerContext& context,
                                                                   FakeServer::ServerStream& stream) {
    {
      // Ends the first stream only when the client has looked at the file again.
      const std::lock_guard lock(once);
      while (LastToken() != "Bearer new") other->Evaluate(SmallPair()).IgnoreError();
    }
    return serve(context, stream);  // From its answer on the test may end.
  };
  ASSERT_TRUE(goes_on->Write(SmallPair(), 7).ok());
  const auto result = goes_on->Read();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ((*result)->request_id, 7U);
  EXPECT_TRUE((*result)->evaluation.ok());
}

TEST_F(CredentialsTest, AreRefusedWhenTheyCannotBeUsed) {
  const KeyPair pair = ca_.Issue();
  const std::string cert = folder_.Write("cert.pem", pair.certificate);
  const std::string key = folder_.Write("key.pem", pair.private_key);
  const std::string empty = folder_.Write("empty", "");
  const std::string token = folder_.Write("token", "secret");
  struct Case {
    ClientOptions options;
    const char* text;
  };
  const Case cases[] = {
      {{.server_ca = cert}, "server_ca"},
      {{.client_cert = cert, .client_key = key}, "client_cert"},
      {{.tls = true, .client_cert = cert}, "client_key is missing"},
      {{.tls = true, .client_key = key}, "client_cert is missing"},
      {{.tls = true, .server_ca = "/missing"}, "server_ca=/missing: cannot be opened"},
      {{.tls = true, .server_ca = key}, "holds no CERTIFICATE"},
      {{.tls = true, .client_cert = cert, .client_key = cert}, "holds no PRIVATE KEY"},
      {{.token_file = "/missing"}, "token_file=/missing: cannot be opened"},
      {{.token_file = empty}, "holds no token"},
      {{.server = "example.com:1", .token_file = token}, "in the clear"},
  };
  for (const Case& each : cases) {
    const absl::Status status = Client::Create(each.options).status();
    EXPECT_FALSE(status.ok()) << each.text;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("ClientOptions."), HasSubstr(each.text)));
    EXPECT_THAT(std::string(status.message()), ::testing::Not(HasSubstr("secret")));
  }
  EXPECT_TRUE(Client::Create({.server = "example.com:1", .tls = true, .token_file = token}).ok());
  EXPECT_TRUE(
      Client::Create({.server = "example.com:1", .token_file = token, .allow_plaintext_tokens = true}).ok());
}

// A token goes to these without TLS: a name that only begins like them is another machine's.
TEST(IsLocal, IsEveryServerOfTheAddressOnThisMachine) {
  for (const char* const local : {"127.0.0.1:50051", "127.1.2.3", "localhost:1", "localhost", "[::1]:1",
                                  "unix:/run/kldiv", "ipv4:127.0.0.1:1,127.0.0.2:1", "ipv6:[::1]:1"}) {
    EXPECT_TRUE(internal::IsLocal(local)) << local;
  }
  for (const char* const other : {"ipv4:127.0.0.1:1,10.0.0.1:1", "127.example.com:1",
                                  "127.0.0.1.example.com:1", "localhost.example.com:1", "dns:///localhost:1",
                                  "[::2]:1", "10.0.0.1:1", "example.com", "", "ipv4:"}) {
    EXPECT_FALSE(internal::IsLocal(other)) << other;
  }
}

}  // namespace
}  // namespace kldiv
