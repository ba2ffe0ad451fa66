#ifndef KLDIV_CLIENT_CREDENTIALS_H_
#define KLDIV_CLIENT_CREDENTIALS_H_

#include <grpcpp/security/credentials.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/include/kldiv/client.h"

namespace kldiv::internal {

// Are all servers that the address names on this machine, as far as it says itself? A name but localhost is
// not looked up.
bool IsLocal(std::string_view server);

// TLS with the options' files, or plaintext.
//
// INVALID_ARGUMENT: options that do not go together. FAILED_PRECONDITION: a file that cannot be used. Both
// name the option.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const ClientOptions& options);

// The token in a file, which may change. Thread-safe.
class TokenFile {
 public:
  // FAILED_PRECONDITION: it cannot be read or holds no token.
  static absl::StatusOr<std::unique_ptr<TokenFile>> Open(std::string path);

  // As the value of the header `authorization`. Looks at the file once a second at most; while it cannot be
  // used, for it is just being replaced, the last one stays.
  std::string Authorization();

 private:
  using Clock = std::chrono::steady_clock;

  TokenFile(std::string path, std::string authorization);

  const std::string path_;
  std::mutex mu_;
  // Guarded by mu_.
  std::string authorization_;
  Clock::time_point next_look_;
};

}  // namespace kldiv::internal

#endif  // KLDIV_CLIENT_CREDENTIALS_H_
