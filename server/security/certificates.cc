#include "server/security/certificates.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/security/openssl_pointers.h"

namespace kldiv::server {
namespace {

using openssl::Bio;
using openssl::Certificate;
using openssl::Key;
using Context = std::unique_ptr<SSL_CTX, openssl::Freed<SSL_CTX_free>>;

Bio ReaderOf(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// OpenSSL's own reason for what has just failed; empties its queue.
std::string LastReason() {
  const unsigned long error = ERR_peek_last_error();
  ERR_clear_error();
  const char* const reason = ERR_reason_error_string(error);
  return reason != nullptr ? reason : "no reason given";
}

// A key that is encrypted has nobody to ask for its passphrase.
int NoPassphrase(char*, int, int, void*) { return -1; }

std::string Text(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable date";
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                         parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

// Empty when `now` is within the certificate's dates. X509_cmp_time has 0 for a date that it cannot read.
std::string DateFault(const X509& certificate, std::time_t now) {
  const ASN1_TIME* const begin = X509_get0_notBefore(&certificate);
  const ASN1_TIME* const end = X509_get0_notAfter(&certificate);
  if (X509_cmp_time(begin, &now) >= 0) return absl::StrCat("is not valid before ", Text(begin));
  if (X509_cmp_time(end, &now) <= 0) return absl::StrCat("has expired on ", Text(end));
  return {};
}

// Of valid certificates, in seconds since the epoch.
int64_t FirstExpiry(const std::vector<Certificate>& chain) {
  int64_t first = std::numeric_limits<int64_t>::max();
  for (const Certificate& certificate : chain) {
    std::tm end{};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) != 1) continue;
    first = std::min<int64_t>(first, timegm(&end));
  }
  return first;
}

std::string Nth(size_t index) { return absl::StrCat("certificate ", index + 1, " "); }

absl::StatusOr<std::vector<Certificate>> ParseCertificates(const FlagFile& file, const std::string& pem) {
  const Bio reader = ReaderOf(pem);
  std::vector<Certificate> certificates;
  ERR_clear_error();
  while (X509* const next = PEM_read_bio_X509(reader.get(), nullptr, NoPassphrase, nullptr)) {
    certificates.emplace_back(next);
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string reason = LastReason();
  if (!at_end) return file.Error(Nth(certificates.size()) + "cannot be parsed: " + reason);
  if (certificates.empty()) return file.Error("holds no certificate in PEM form");
  return certificates;
}

absl::Status CheckChain(const FlagFile& file, const std::vector<Certificate>& chain, std::time_t now) {
  for (size_t i = 0; i < chain.size(); ++i) {
    if (const std::string fault = DateFault(*chain[i], now); !fault.empty())
      return file.Error(Nth(i) + fault);
  }
  for (size_t i = 0; i + 1 < chain.size(); ++i) {
    if (X509_check_issued(chain[i + 1].get(), chain[i].get()) != X509_V_OK ||
        X509_verify(chain[i].get(), X509_get0_pubkey(chain[i + 1].get())) != 1) {
      ERR_clear_error();
      return file.Error(absl::StrCat(Nth(i), "is not issued by certificate ", i + 2,
                                     ": the server's own goes first, then each one's issuer"));
    }
  }
  if (X509_check_purpose(chain.front().get(), X509_PURPOSE_SSL_SERVER, 0) != 1) {
    return file.Error("certificate 1 is not meant for a server");
  }
  return absl::OkStatus();
}

absl::StatusOr<Key> ParseKey(const FlagFile& file, const std::string& pem) {
  const Bio reader = ReaderOf(pem);
  ERR_clear_error();
  Key key(PEM_read_bio_PrivateKey(reader.get(), nullptr, NoPassphrase, nullptr));
  if (key != nullptr) return key;
  if (pem.find("ENCRYPTED") != std::string::npos) {
    ERR_clear_error();
    return file.Error("is encrypted with a passphrase, which there is nobody to ask for");
  }
  const std::string reason = LastReason();
  if (pem.find("PRIVATE KEY-----") == std::string::npos)
    return file.Error("holds no private key in PEM form");
  return file.Error("the private key cannot be parsed: " + reason);
}

absl::Status CheckAuthorities(const FlagFile& file, const std::vector<Certificate>& authorities,
                              std::time_t now) {
  std::string fault;
  bool valid = false;
  for (size_t i = 0; i < authorities.size(); ++i) {
    if (X509_check_ca(authorities[i].get()) == 0) {
      return file.Error(Nth(i) + "is not an authority's");
    }
    const std::string date_fault = DateFault(*authorities[i], now);
    valid = valid || date_fault.empty();
    if (fault.empty() && !date_fault.empty()) fault = Nth(i) + date_fault;
  }
  return valid ? absl::OkStatus() : file.Error(fault);
}

// What the checks before do not know of OpenSSL's own: a key that is too short for its security level, say.
absl::Status CheckByUse(const FlagFile& file, const std::vector<Certificate>& chain, const Key& key) {
  const Context context(SSL_CTX_new(TLS_server_method()));
  ERR_clear_error();
  bool taken = SSL_CTX_use_certificate(context.get(), chain.front().get()) == 1;
  for (size_t i = 1; taken && i < chain.size(); ++i) {
    taken = SSL_CTX_add1_chain_cert(context.get(), chain[i].get()) == 1;
  }
  taken = taken && SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1;
  if (taken) return absl::OkStatus();
  return file.Error("OpenSSL refuses it: " + LastReason());
}

}  // namespace

absl::StatusOr<TlsMaterial> CheckTlsMaterial(const TlsFiles& files, TlsMaterial material,
                                             std::chrono::system_clock::time_point now) {
  const FlagFile cert{"tls_cert", files.cert};
  const FlagFile key{"tls_key", files.key};
  const std::time_t time = std::chrono::system_clock::to_time_t(now);

  absl::StatusOr<std::vector<Certificate>> chain = ParseCertificates(cert, material.certificates);
  if (!chain.ok()) return chain.status();
  absl::StatusOr<Key> parsed_key = ParseKey(key, material.private_key);
  if (!parsed_key.ok()) return parsed_key.status();
  if (X509_check_private_key(chain->front().get(), parsed_key->get()) != 1) {
    ERR_clear_error();
    return key.Error(absl::StrCat("does not belong to the first certificate in ", files.cert));
  }
  if (absl::Status status = CheckChain(cert, *chain, time); !status.ok()) return status;
  if (absl::Status status = CheckByUse(cert, *chain, *parsed_key); !status.ok()) return status;

  if (!files.client_ca.empty()) {
    const FlagFile client_ca{"tls_client_ca", files.client_ca};
    absl::StatusOr<std::vector<Certificate>> authorities = ParseCertificates(client_ca, material.client_ca);
    if (!authorities.ok()) return authorities.status();
    if (absl::Status status = CheckAuthorities(client_ca, *authorities, time); !status.ok()) return status;
  }
  material.expires_at = FirstExpiry(*chain);
  return material;
}

absl::StatusOr<std::unique_ptr<Certificates>> LoadCertificates(const TlsFiles& files) {
  std::vector<FlagFile> watched = {{"tls_cert", files.cert}, {"tls_key", files.key}};
  if (!files.client_ca.empty()) watched.push_back({"tls_client_ca", files.client_ca});
  return Certificates::Load("certificates", std::move(watched), [files](std::vector<std::string> contents) {
    TlsMaterial material{std::move(contents[0]), std::move(contents[1]), {}, 0};
    if (contents.size() > 2) material.client_ca = std::move(contents[2]);
    return CheckTlsMaterial(files, std::move(material), std::chrono::system_clock::now());
  });
}

}  // namespace kldiv::server
