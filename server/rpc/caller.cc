#include "server/rpc/caller.h"

#include "absl/strings/str_cat.h"

namespace kldiv::server {

std::string PeerAddress(const std::string& peer) {
  return peer.starts_with("ip") ? peer.substr(0, peer.rfind(':')) : peer;
}

std::string ClientName(const Call& call, const Token* token) {
  if (token != nullptr) return absl::StrCat("token:", token->name);
  const std::string certificate = call.certificate_name();
  return certificate.empty() ? PeerAddress(call.peer()) : absl::StrCat("certificate:", certificate);
}

}  // namespace kldiv::server
