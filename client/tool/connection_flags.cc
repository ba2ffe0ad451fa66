#include "client/tool/connection_flags.h"

#include <string>

#include "absl/flags/flag.h"
#include "absl/strings/str_replace.h"

ABSL_FLAG(std::string, server, "127.0.0.1:50051",
          "The server: HOST:PORT, [IPV6]:PORT or unix:/PATH; or all servers behind a name, in turn: "
          "dns:///NAME:PORT.");
ABSL_FLAG(bool, tls, false, "Encrypt the connection, and have the server prove who it is.");
ABSL_FLAG(std::string, server_ca, "",
          "PEM file with the authorities that the server's certificate must lead to; empty: the system's.");
ABSL_FLAG(std::string, client_cert, "",
          "PEM file with the certificate chain to show the server; empty: none.");
ABSL_FLAG(std::string, client_key, "", "PEM file with that certificate's private key.");
ABSL_FLAG(std::string, client_token_file, "", "File with a token to send with every call; empty: none.");
ABSL_FLAG(bool, client_allow_plaintext_tokens, false,
          "Send the token without --tls, too, to addresses that are not this machine's.");

namespace kldiv::tool {

absl::StatusOr<ClientOptions> ReadConnectionFlags() {
  ClientOptions options;
  options.server = absl::GetFlag(FLAGS_server);
  if (options.server.empty()) {
    return absl::InvalidArgumentError(
        "--server is empty; expected HOST:PORT, dns:///NAME:PORT or unix:/PATH");
  }
  options.tls = absl::GetFlag(FLAGS_tls);
  options.server_ca = absl::GetFlag(FLAGS_server_ca);
  options.client_cert = absl::GetFlag(FLAGS_client_cert);
  options.client_key = absl::GetFlag(FLAGS_client_key);
  options.token_file = absl::GetFlag(FLAGS_client_token_file);
  options.allow_plaintext_tokens = absl::GetFlag(FLAGS_client_allow_plaintext_tokens);
  return options;
}

absl::StatusOr<std::unique_ptr<Client>> Connect(const ClientOptions& options) {
  absl::StatusOr<std::unique_ptr<Client>> client = Client::Create(options);
  if (client.ok()) return client;
  const std::string text(client.status().message());
  return absl::Status(
      client.status().code(),
      absl::StrReplaceAll(text, {{"ClientOptions.token_file", "--client_token_file"},
                                 {"ClientOptions.", "--"},
                                 {"allow_plaintext_tokens", "client_allow_plaintext_tokens"}}));
}

}  // namespace kldiv::tool
