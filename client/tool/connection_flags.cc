#include "client/tool/connection_flags.h"

#include <string>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"

ABSL_FLAG(std::string, server, "127.0.0.1:50051",
          "The server: HOST:PORT, [IPV6]:PORT or unix:/PATH; or all servers behind a name, in turn: "
          "dns:///NAME:PORT.");
ABSL_FLAG(bool, tls, false, "Encrypt the connection.");
ABSL_FLAG(std::string, server_ca, "", "File with the certificates that a server's must lead to.");
ABSL_FLAG(std::string, client_cert, "", "File with the client's own certificate chain.");
ABSL_FLAG(std::string, client_key, "", "File with that certificate's private key.");
ABSL_FLAG(std::string, client_token_file, "", "File with a token to send with every call.");

namespace kldiv::tool {
namespace {

// What the flags name and this version does not do.
absl::Status CheckAbilities() {
  const char* flag = nullptr;
  if (absl::GetFlag(FLAGS_tls)) flag = "tls";
  if (!absl::GetFlag(FLAGS_server_ca).empty()) flag = "server_ca";
  if (!absl::GetFlag(FLAGS_client_cert).empty()) flag = "client_cert";
  if (!absl::GetFlag(FLAGS_client_key).empty()) flag = "client_key";
  if (!absl::GetFlag(FLAGS_client_token_file).empty()) flag = "client_token_file";
  if (flag == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, ": this version has no encrypted connections and no tokens"));
}

}  // namespace

absl::StatusOr<ClientOptions> ReadConnectionFlags() {
  if (absl::Status status = CheckAbilities(); !status.ok()) return status;
  ClientOptions options;
  options.server = absl::GetFlag(FLAGS_server);
  if (options.server.empty()) {
    return absl::InvalidArgumentError(
        "--server is empty; expected HOST:PORT, dns:///NAME:PORT or unix:/PATH");
  }
  return options;
}

}  // namespace kldiv::tool
