#include "server/rpc/grpc_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <string>

#include "server/base/mutex.h"

namespace kldiv::server {
namespace {

// gRPC's C++ layer offers no fetcher of certificates; its core does.
class FetchedTlsCredentials final : public grpc::ServerCredentials {
 public:
  explicit FetchedTlsCredentials(const Replaceable<TlsMaterial>& material) : material_(material) {}

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    const auto request = material_.Get()->client_ca.empty()
                             ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                             : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
    grpc_server_credentials* const credentials = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(request, Fetch, this));
    const int port = grpc_server_add_http2_port(server, address.c_str(), credentials);
    grpc_server_credentials_release(credentials);  // The server has its own reference.
    return port;
  }

  // Called for each new connection, on gRPC's threads.
  static grpc_ssl_certificate_config_reload_status Fetch(void* self,
                                                         grpc_ssl_server_certificate_config** config) {
    return static_cast<FetchedTlsCredentials*>(self)->FetchIfNew(config);
  }

  grpc_ssl_certificate_config_reload_status FetchIfNew(grpc_ssl_server_certificate_config** config) {
    std::shared_ptr<const TlsMaterial> material = material_.Get();
    MutexLock lock(mu_);
    if (material == fetched_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const grpc_ssl_pem_key_cert_pair pair{material->private_key.c_str(), material->certificates.c_str()};
    // gRPC asserts that there are authorities even where it asks no client for a certificate.
    const std::string& authorities =
        material->client_ca.empty() ? material->certificates : material->client_ca;
    *config = grpc_ssl_server_certificate_config_create(authorities.c_str(), &pair, 1);
    fetched_ = std::move(material);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const Replaceable<TlsMaterial>& material_;
  Mutex mu_;
  std::shared_ptr<const TlsMaterial> fetched_ KLDIV_GUARDED_BY(mu_);  // what gRPC has
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> TlsCredentials(const Replaceable<TlsMaterial>& material) {
  return std::make_shared<FetchedTlsCredentials>(material);
}

}  // namespace kldiv::server
