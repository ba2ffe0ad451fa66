#include "server/security_options.h"

#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "server/flags.h"

namespace kldiv::server {
namespace {

// The first that machines other than this one can reach and that has no TLS; null: there is none.
const ListenAddress* PublicPlaintextListener(const ServerOptions& options) {
  if (options.certificates != nullptr) return nullptr;
  for (const ListenAddress& address : options.listen) {
    if (address.is_tcp() && !address.is_loopback()) return &address;
  }
  return nullptr;
}

absl::Status ReadCertificates(ServerOptions& options) {
  TlsFiles files;
  files.cert = absl::GetFlag(FLAGS_tls_cert);
  files.key = absl::GetFlag(FLAGS_tls_key);
  files.client_ca = absl::GetFlag(FLAGS_tls_client_ca);
  if (files.cert.empty() != files.key.empty()) {
    const char* const missing = files.cert.empty() ? "tls_cert" : "tls_key";
    return absl::InvalidArgumentError(
        absl::StrCat("--", missing, " is missing: --tls_cert and --tls_key go together"));
  }
  if (files.cert.empty()) {
    if (files.client_ca.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("--tls_client_ca=", files.client_ca, ": needs --tls_cert and --tls_key"));
  }
  absl::StatusOr<std::unique_ptr<Certificates>> certificates = LoadCertificates(files);
  if (!certificates.ok()) return certificates.status();
  options.certificates = *std::move(certificates);
  return absl::OkStatus();
}

absl::Status ReadTokens(ServerOptions& options) {
  const std::string path = absl::GetFlag(FLAGS_token_file);
  if (path.empty()) return absl::OkStatus();
  const ListenAddress* const exposed = PublicPlaintextListener(options);
  if (exposed != nullptr && !absl::GetFlag(FLAGS_allow_plaintext_tokens)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--token_file=", path, ": tokens would cross the network in the clear to --listen=",
                     exposed->ToString(), "; give it --tls_cert and --tls_key, or --allow_plaintext_tokens"));
  }
  absl::StatusOr<std::unique_ptr<Tokens>> tokens = LoadTokens(path);
  if (!tokens.ok()) return tokens.status();
  options.tokens = *std::move(tokens);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadSecurityFlags(ServerOptions& options) {
  if (absl::Status status = ReadCertificates(options); !status.ok()) return status;
  if (absl::Status status = ReadTokens(options); !status.ok()) return status;
  if (const ListenAddress* const exposed = PublicPlaintextListener(options); exposed != nullptr) {
    options.warnings.push_back(absl::StrCat(
        "--listen=", exposed->ToString(),
        " can be reached from other machines and encrypts nothing; --tls_cert and --tls_key would"));
  }
  return absl::OkStatus();
}

}  // namespace kldiv::server
