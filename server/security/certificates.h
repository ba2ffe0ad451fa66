#ifndef KLDIV_SERVER_SECURITY_CERTIFICATES_H_
#define KLDIV_SERVER_SECURITY_CERTIFICATES_H_

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/security/reloaded.h"

namespace kldiv::server {

// What a server proves itself with, as PEM.
struct TlsMaterial {
  std::string certificates;  // its own first, each followed by its issuer
  std::string private_key;
  std::string client_ca;  // who may vouch for clients; empty: clients show no certificate
  // When the first of `certificates` to expire does, in seconds since the epoch; set by CheckTlsMaterial.
  int64_t expires_at = 0;
};

// Where it is.
struct TlsFiles {
  std::string cert;
  std::string key;
  std::string client_ca;  // may be empty
};

// Material with which TLS will work at `now`: everything parses, the key is the certificate's, the chain is
// in order, its dates hold, it is fit for a server, and OpenSSL takes it. Of the authorities one has to be
// within its dates: a bundle may hold the past one and the next one.
//
// FAILED_PRECONDITION: which flag's file it is and what is wrong with it. Thread-safe.
absl::StatusOr<TlsMaterial> CheckTlsMaterial(const TlsFiles& files, TlsMaterial material,
                                             std::chrono::system_clock::time_point now);

// Material that follows its files.
using Certificates = Reloaded<TlsMaterial>;
absl::StatusOr<std::unique_ptr<Certificates>> LoadCertificates(const TlsFiles& files);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_SECURITY_CERTIFICATES_H_
