#ifndef KLDIV_SERVER_SECURITY_OPTIONS_H_
#define KLDIV_SERVER_SECURITY_OPTIONS_H_

#include "absl/status/status.h"
#include "server/options.h"

namespace kldiv::server {

// Fills in `certificates` and `tokens` from the flags, and warns of a listener that others can reach and that
// encrypts nothing. `options.listen` is known.
//
// INVALID_ARGUMENT: flags that do not go together. FAILED_PRECONDITION: a file that cannot be used. The
// messages name the flag.
absl::Status ReadSecurityFlags(ServerOptions& options);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_SECURITY_OPTIONS_H_
