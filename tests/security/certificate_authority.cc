#include "tests/security/certificate_authority.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "server/security/openssl_pointers.h"

namespace kldiv::testing {
namespace {

using server::openssl::Bio;
using server::openssl::Certificate;
using server::openssl::Key;

constexpr long kSecondsPerDay = 24 * 60 * 60;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "OpenSSL: %s failed\n", what);
  std::abort();
}

template <class Write>
std::string Pem(Write write) {
  const Bio memory(BIO_new(BIO_s_mem()));
  Require(write(memory.get()) == 1, "writing PEM");
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &bytes);
  return std::string(bytes, static_cast<size_t>(size));
}

std::string PemOf(X509* certificate) {
  return Pem([&](BIO* out) { return PEM_write_bio_X509(out, certificate); });
}
std::string PemOf(EVP_PKEY* key) {
  return Pem(
      [&](BIO* out) { return PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

void SetName(X509_NAME* name, const std::string& common_name) {
  const auto* const text = reinterpret_cast<const unsigned char*>(common_name.data());
  Require(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, text, static_cast<int>(common_name.size()),
                                     -1, 0) == 1,
          "naming");
}

void AddExtension(X509* certificate, int type, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, type, value.c_str());
  Require(extension != nullptr, "making an extension");
  Require(X509_add_ext(certificate, extension, -1) == 1, "adding an extension");
  X509_EXTENSION_free(extension);
}

// Signed with `issuer_key` in the name of `issuer`; null: in its own.
Certificate Sign(const CertificateRequest& request, EVP_PKEY* key, const X509* issuer, EVP_PKEY* issuer_key) {
  Certificate certificate(X509_new());
  X509* const x509 = certificate.get();
  long serial = 0;
  Require(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1,
          "choosing a serial number");
  ASN1_INTEGER_set(X509_get_serialNumber(x509), serial & 0x7fffffff);
  X509_set_version(x509, X509_VERSION_3);
  X509_gmtime_adj(X509_getm_notBefore(x509), request.begin_days * kSecondsPerDay);
  X509_gmtime_adj(X509_getm_notAfter(x509), request.end_days * kSecondsPerDay);
  SetName(X509_get_subject_name(x509), request.common_name);
  X509_set_issuer_name(x509, issuer != nullptr ? X509_get_subject_name(issuer) : X509_get_subject_name(x509));
  X509_set_pubkey(x509, key);
  AddExtension(x509, NID_basic_constraints, request.is_authority ? "critical,CA:TRUE" : "CA:FALSE");
  if (!request.alternative_names.empty()) AddExtension(x509, NID_subject_alt_name, request.alternative_names);
  if (!request.extended_key_usage.empty()) AddExtension(x509, NID_ext_key_usage, request.extended_key_usage);
  Require(X509_sign(x509, issuer_key, EVP_sha256()) > 0, "signing");
  return certificate;
}

CertificateRequest AuthorityRequest(const std::string& common_name) {
  return {.common_name = common_name, .alternative_names = "", .is_authority = true};
}

}  // namespace

struct CertificateAuthority::Issuer {
  Certificate certificate;
  Key key;
};

CertificateAuthority::CertificateAuthority(std::unique_ptr<Issuer> issuer)
    : issuer_(std::move(issuer)), certificate_(PemOf(issuer_->certificate.get())) {}

CertificateAuthority::CertificateAuthority(const std::string& common_name)
    : issuer_(std::make_unique<Issuer>()) {
  issuer_->key.reset(EVP_EC_gen("P-256"));
  issuer_->certificate = Sign(AuthorityRequest(common_name), issuer_->key.get(), nullptr, issuer_->key.get());
  certificate_ = PemOf(issuer_->certificate.get());
}

CertificateAuthority::~CertificateAuthority() = default;

KeyPair CertificateAuthority::Issue(const CertificateRequest& request) const {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate = Sign(request, key.get(), issuer_->certificate.get(), issuer_->key.get());
  return {PemOf(certificate.get()), PemOf(key.get())};
}

CertificateAuthority CertificateAuthority::Intermediate(const std::string& common_name) const {
  auto issuer = std::make_unique<Issuer>();
  issuer->key.reset(EVP_EC_gen("P-256"));
  issuer->certificate =
      Sign(AuthorityRequest(common_name), issuer->key.get(), issuer_->certificate.get(), issuer_->key.get());
  return CertificateAuthority(std::move(issuer));
}

}  // namespace kldiv::testing
