#ifndef KLDIV_TESTS_SECURITY_CERTIFICATE_AUTHORITY_H_
#define KLDIV_TESTS_SECURITY_CERTIFICATE_AUTHORITY_H_

#include <memory>
#include <string>

namespace kldiv::testing {

// As PEM.
struct KeyPair {
  std::string certificate;
  std::string private_key;
};

struct CertificateRequest {
  std::string common_name = "localhost";
  // Comma-separated, in OpenSSL's words; empty: none.
  std::string alternative_names = "DNS:localhost,IP:127.0.0.1";
  std::string extended_key_usage = "";  // in OpenSSL's words: "serverAuth"; empty: any
  bool is_authority = false;
  int begin_days = -1;  // of its validity, from today
  int end_days = 1;
};

// Makes real certificates with OpenSSL, on P-256 keys. Failures end the test program.
class CertificateAuthority {
 public:
  // A root, which vouches for itself.
  explicit CertificateAuthority(const std::string& common_name);
  ~CertificateAuthority();

  const std::string& certificate() const { return certificate_; }

  KeyPair Issue(const CertificateRequest& request = {}) const;

  // An authority whose certificate this one has issued.
  CertificateAuthority Intermediate(const std::string& common_name) const;

 private:
  struct Issuer;
  explicit CertificateAuthority(std::unique_ptr<Issuer> issuer);

  std::unique_ptr<Issuer> issuer_;
  std::string certificate_;
};

}  // namespace kldiv::testing

#endif  // KLDIV_TESTS_SECURITY_CERTIFICATE_AUTHORITY_H_
