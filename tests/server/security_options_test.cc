#include "server/security_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/flags/reflection.h"
#include "server/base/command_line.h"
#include "server/options.h"
#include "tests/security/certificate_authority.h"
#include "tests/testing/temporary_folder.h"

namespace kldiv::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Host kHost{
    .memory_bytes = int64_t{8} << 30, .memory_limit_bytes = 0, .cpus = 2, .max_descriptors = 1 << 20};

class SecurityOptionsTest : public ::testing::Test {
 protected:
  SecurityOptionsTest() {
    const testing::KeyPair pair = authority_.Issue();
    folder_.Write("cert", pair.certificate);
    folder_.Write("key", pair.private_key);
    folder_.Write("ca", authority_.certificate());
    folder_.Write("tokens", "alice:secret\n");
  }

  std::string File(const std::string& flag, const std::string& name) const {
    return "--" + flag + "=" + folder_ / name;
  }
  std::vector<std::string> Tls() const { return {File("tls_cert", "cert"), File("tls_key", "key")}; }

  static absl::StatusOr<ServerOptions> Options(std::vector<std::string> arguments,
                                               std::vector<std::string> more = {}) {
    arguments.insert(arguments.begin(), "kldiv-server");
    for (std::string& argument : more) arguments.push_back(std::move(argument));
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    const absl::FlagSaver saver;
    const auto parsed = base::ParseCommandLine(static_cast<int>(argv.size()), argv.data());
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    return OptionsFromFlags(kHost);
  }

  static void ExpectError(const absl::StatusOr<ServerOptions>& options, absl::StatusCode code,
                          const std::string& text) {
    EXPECT_EQ(options.status().code(), code) << options.status();
    EXPECT_THAT(std::string(options.status().message()), HasSubstr(text));
  }

  const testing::CertificateAuthority authority_{"root"};
  const testing::TemporaryFolder folder_;
};

TEST_F(SecurityOptionsTest, AreNothingByDefault) {
  const auto options = Options({});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->certificates, nullptr);
  EXPECT_EQ(options->tokens, nullptr);
  EXPECT_THAT(options->warnings, IsEmpty());
}

TEST_F(SecurityOptionsTest, HoldWhatTheFilesHold) {
  const auto options = Options(Tls(), {File("tls_client_ca", "ca"), File("token_file", "tokens")});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->certificates->value().Get()->client_ca, authority_.certificate());
  EXPECT_NE(options->tokens->value().Get()->Find("secret"), nullptr);
}

TEST_F(SecurityOptionsTest, RefuseFlagsThatDoNotGoTogether) {
  constexpr auto kUsage = absl::StatusCode::kInvalidArgument;
  ExpectError(Options({File("tls_cert", "cert")}), kUsage, "--tls_key is missing");
  ExpectError(Options({File("tls_key", "key")}), kUsage, "--tls_cert is missing");
  ExpectError(Options({File("tls_client_ca", "ca")}), kUsage, "needs --tls_cert and --tls_key");
}

TEST_F(SecurityOptionsTest, DoNotStartWithFilesThatCannotBeUsed) {
  constexpr auto kCannotStart = absl::StatusCode::kFailedPrecondition;
  ExpectError(Options({File("tls_cert", "none"), File("tls_key", "key")}), kCannotStart,
              File("tls_cert", "none") + ": No such file or directory");
  ExpectError(Options({File("tls_cert", "cert"), File("tls_key", "cert")}), kCannotStart,
              File("tls_key", "cert") + ": holds no private key");
  ExpectError(Options(Tls(), {File("tls_client_ca", "tokens")}), kCannotStart,
              File("tls_client_ca", "tokens") + ": holds no certificate");
  ExpectError(Options({File("token_file", "cert")}), kCannotStart, File("token_file", "cert") + ": line 1: ");
}

TEST_F(SecurityOptionsTest, SendNoTokensInTheClearToOtherMachinesUnlessToldTo) {
  const std::string tokens = File("token_file", "tokens");
  for (const char* listen : {"--listen=127.0.0.1:1,unix:/run/a", "--listen=[::1]:1"})
    EXPECT_TRUE(Options({tokens, listen}).ok()) << listen;
  ExpectError(Options({tokens, "--listen=127.0.0.1:1,0.0.0.0:2"}), absl::StatusCode::kInvalidArgument,
              "--listen=0.0.0.0:2; give it --tls_cert");
  EXPECT_TRUE(Options(Tls(), {tokens, "--listen=0.0.0.0:2"}).ok());
  EXPECT_TRUE(Options({tokens, "--listen=0.0.0.0:2", "--allow_plaintext_tokens"}).ok());
}

TEST_F(SecurityOptionsTest, WarnOfAListenerThatOthersCanReachWithoutTls) {
  EXPECT_THAT(Options({"--listen=127.0.0.1:1,0.0.0.0:2"})->warnings,
              ElementsAre(HasSubstr("--listen=0.0.0.0:2 can be reached from other machines")));
  EXPECT_THAT(Options(Tls(), {"--listen=0.0.0.0:2"})->warnings, IsEmpty());
  EXPECT_THAT(Options({"--listen=unix:/run/a,[::1]:2"})->warnings, IsEmpty());
}

}  // namespace
}  // namespace kldiv::server
