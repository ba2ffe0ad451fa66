#ifndef KLDIV_SERVER_SECURITY_OPENSSL_POINTERS_H_
#define KLDIV_SERVER_SECURITY_OPENSSL_POINTERS_H_

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>

// OpenSSL's objects with an owner.
namespace kldiv::server::openssl {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Freed<BIO_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;

}  // namespace kldiv::server::openssl

#endif  // KLDIV_SERVER_SECURITY_OPENSSL_POINTERS_H_
