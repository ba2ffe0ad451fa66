#include "server/security/certificates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "tests/security/certificate_authority.h"
#include "tests/testing/temporary_folder.h"

namespace kldiv::server {
namespace {

using ::testing::AllOf;
using testing::CertificateAuthority;
using testing::CertificateRequest;
using ::testing::HasSubstr;
using testing::KeyPair;
using ::testing::StartsWith;

class CertificatesTest : public ::testing::Test {
 protected:
  // What is wrong with the material; empty: nothing.
  std::string Fault(const std::string& certificates, const std::string& key,
                    const std::string& client_ca = "", std::chrono::hours later = {}) {
    TlsFiles files{"cert.pem", "key.pem", client_ca.empty() ? "" : "ca.pem"};
    const auto checked =
        CheckTlsMaterial(files, {certificates, key, client_ca, 0}, std::chrono::system_clock::now() + later);
    if (checked.ok()) return "";
    EXPECT_EQ(checked.status().code(), absl::StatusCode::kFailedPrecondition);
    return std::string(checked.status().message());
  }

  const CertificateAuthority authority_{"root"};
  const KeyPair good_ = authority_.Issue();
};

TEST_F(CertificatesTest, AreGoodWhenAllFits) {
  EXPECT_EQ(Fault(good_.certificate, good_.private_key), "");
  EXPECT_EQ(Fault(good_.certificate + authority_.certificate(), good_.private_key), "");
  EXPECT_EQ(Fault(good_.certificate, good_.private_key, authority_.certificate()), "");
  const KeyPair for_servers = authority_.Issue({.extended_key_usage = "serverAuth"});
  EXPECT_EQ(Fault(for_servers.certificate, for_servers.private_key), "");
}

TEST_F(CertificatesTest, AreGoodWithAnIntermediateInOrder) {
  const CertificateAuthority intermediate = authority_.Intermediate("between");
  const KeyPair leaf = intermediate.Issue();
  EXPECT_EQ(Fault(leaf.certificate + intermediate.certificate() + authority_.certificate(), leaf.private_key),
            "");
  EXPECT_THAT(
      Fault(leaf.certificate + authority_.certificate() + intermediate.certificate(), leaf.private_key),
      HasSubstr("certificate 1 is not issued by certificate 2"));
}

TEST_F(CertificatesTest, TellWhenTheyExpire) {
  const KeyPair soon = authority_.Issue({.end_days = 3});
  const auto now = std::chrono::system_clock::now();
  const auto checked =
      CheckTlsMaterial({"cert.pem", "key.pem", ""}, {soon.certificate, soon.private_key, "", 0}, now);
  ASSERT_TRUE(checked.ok()) << checked.status();
  const int64_t left = checked->expires_at - std::chrono::system_clock::to_time_t(now);
  EXPECT_GT(left, 3 * 86'400 - 600);
  EXPECT_LE(left, 3 * 86'400 + 600);
}

TEST_F(CertificatesTest, AreNotThoseOfAnotherKey) {
  EXPECT_EQ(Fault(good_.certificate, authority_.Issue().private_key),
            "--tls_key=key.pem: does not belong to the first certificate in cert.pem");
  EXPECT_THAT(Fault(authority_.certificate() + good_.certificate, good_.private_key),
              StartsWith("--tls_key=key.pem: does not belong"));
}

TEST_F(CertificatesTest, HaveToBeWithinTheirDates) {
  const KeyPair past = authority_.Issue({.begin_days = -3, .end_days = -1});
  EXPECT_THAT(Fault(past.certificate, past.private_key),
              AllOf(StartsWith("--tls_cert=cert.pem: certificate 1 has expired on 20"), HasSubstr("Z")));
  const KeyPair future = authority_.Issue({.begin_days = 1, .end_days = 3});
  EXPECT_THAT(Fault(future.certificate, future.private_key),
              StartsWith("--tls_cert=cert.pem: certificate 1 is not valid before 20"));
  EXPECT_EQ(Fault(future.certificate, future.private_key, "", std::chrono::hours(48)), "");
}

TEST_F(CertificatesTest, OfTheChainHaveToBeWithinTheirDatesToo) {
  EXPECT_THAT(
      Fault(good_.certificate + authority_.certificate(), good_.private_key, "", std::chrono::hours(-36)),
      HasSubstr("is not valid before"));
}

TEST_F(CertificatesTest, HaveToBeMeantForAServer) {
  const KeyPair client = authority_.Issue({.extended_key_usage = "clientAuth"});
  EXPECT_EQ(Fault(client.certificate, client.private_key),
            "--tls_cert=cert.pem: certificate 1 is not meant for a server");
}

TEST_F(CertificatesTest, AndKeysThatCannotBeParsedAreRefusedByName) {
  const std::string half = good_.certificate.substr(0, good_.certificate.size() / 2);
  const std::string half_key = good_.private_key.substr(0, good_.private_key.size() / 2);
  EXPECT_EQ(Fault("", good_.private_key), "--tls_cert=cert.pem: holds no certificate in PEM form");
  EXPECT_EQ(Fault("nonsense", good_.private_key), "--tls_cert=cert.pem: holds no certificate in PEM form");
  EXPECT_THAT(Fault(half, good_.private_key),
              StartsWith("--tls_cert=cert.pem: certificate 1 cannot be parsed"));
  EXPECT_THAT(Fault(good_.certificate + half, good_.private_key),
              StartsWith("--tls_cert=cert.pem: certificate 2 cannot be parsed"));
  EXPECT_EQ(Fault(good_.certificate, ""), "--tls_key=key.pem: holds no private key in PEM form");
  EXPECT_THAT(Fault(good_.certificate, half_key), StartsWith("--tls_key=key.pem: "));
  EXPECT_THAT(Fault(good_.certificate,
                    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n"
                    "-----END ENCRYPTED PRIVATE KEY-----\n"),
              HasSubstr("encrypted with a passphrase"));
}

TEST_F(CertificatesTest, OfAuthoritiesAreCheckedToo) {
  EXPECT_EQ(Fault(good_.certificate, good_.private_key, "nonsense"),
            "--tls_client_ca=ca.pem: holds no certificate in PEM form");
  EXPECT_EQ(Fault(good_.certificate, good_.private_key, good_.certificate),
            "--tls_client_ca=ca.pem: certificate 1 is not an authority's");
}

TEST_F(CertificatesTest, OfAuthoritiesMayBeOutOfDateWhenOneIsNot) {
  const std::string past =
      authority_.Issue({.common_name = "old", .is_authority = true, .begin_days = -3, .end_days = -1})
          .certificate;
  EXPECT_THAT(Fault(good_.certificate, good_.private_key, past),
              StartsWith("--tls_client_ca=ca.pem: certificate 1 has expired"));
  EXPECT_EQ(Fault(good_.certificate, good_.private_key, past + authority_.certificate()), "");
}

TEST_F(CertificatesTest, FollowTheirFilesPastHalfARotation) {
  const testing::TemporaryFolder folder;
  const TlsFiles files{folder.Write("cert", good_.certificate), folder.Write("key", good_.private_key), ""};
  auto certificates = LoadCertificates(files);
  ASSERT_TRUE(certificates.ok()) << certificates.status();
  const auto current = [&] {
    (*certificates)->Check();
    (*certificates)->Check();
    return (*certificates)->value().Get()->certificates;
  };
  const KeyPair next = authority_.Issue();
  folder.Replace("key", next.private_key);
  EXPECT_EQ(current(), good_.certificate);
  folder.Replace("cert", next.certificate);
  EXPECT_EQ(current(), next.certificate);
  folder.Remove("key");
  EXPECT_EQ(current(), next.certificate);
}

}  // namespace
}  // namespace kldiv::server
