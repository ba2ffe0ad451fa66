#ifndef KLDIV_CLIENT_TOOL_CONNECTION_FLAGS_H_
#define KLDIV_CLIENT_TOOL_CONNECTION_FLAGS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "client/include/kldiv/client.h"

// The flags by which every client program reaches its server: --server, --tls and what goes with it.
namespace kldiv::tool {

// Reads the registry, after ParseCommandLine; all but the timeout. INVALID_ARGUMENT: a one-line reason that
// names the flag.
absl::StatusOr<ClientOptions> ReadConnectionFlags();

// Client::Create, with errors that name flags instead of options.
absl::StatusOr<std::unique_ptr<Client>> Connect(const ClientOptions& options);

}  // namespace kldiv::tool

#endif  // KLDIV_CLIENT_TOOL_CONNECTION_FLAGS_H_
