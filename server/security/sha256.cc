#include "server/security/sha256.h"

#include <openssl/evp.h>

#include <cstdlib>

namespace kldiv::server {

Sha256Bytes Sha256(std::string_view text) {
  // Looked up once: OpenSSL takes a lock for it, and longer than for a short text's digest.
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  Sha256Bytes digest;
  // Without SHA-256, or without memory, nobody can be told from anybody.
  if (EVP_Digest(text.data(), text.size(), digest.data(), nullptr, algorithm, nullptr) != 1) std::abort();
  return digest;
}

}  // namespace kldiv::server
