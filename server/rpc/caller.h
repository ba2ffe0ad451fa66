#ifndef KLDIV_SERVER_RPC_CALLER_H_
#define KLDIV_SERVER_RPC_CALLER_H_

#include <memory>
#include <optional>
#include <string>

#include "server/batching/admission.h"
#include "server/rpc/client_quota.h"
#include "server/rpc/transport.h"
#include "server/security/tokens.h"

namespace kldiv::server {

// What a call has been let in with.
struct Pass {
  std::optional<Ticket> ticket;              // the call's own charge; of all but health
  std::optional<ClientQuota::Place> health;  // of health alone
  std::shared_ptr<const Token> token;        // that it showed; null when none is asked for
};

// A peer's address without its port; "unix:" is one client.
std::string PeerAddress(const std::string& peer);

// Whose a call is, for turns in the queue and shares of the read grants: the name of its token, else of its
// certificate, else its peer's address. Behind a proxy that adds neither, all clients are one. Names of
// different kinds never coincide.
std::string ClientName(const Call& call, const Token* token);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_CALLER_H_
