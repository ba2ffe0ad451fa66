#include "client/credentials.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace kldiv::internal {
namespace {

constexpr std::chrono::seconds kTimeBetweenLooks{1};
constexpr size_t kMaxFileBytes = size_t{1} << 20;
constexpr size_t kMaxTokenBytes = 1024;  // as the server's

absl::Status Unusable(std::string_view option, const std::string& path, std::string_view reason) {
  return absl::FailedPreconditionError(
      absl::StrCat("ClientOptions.", std::string(option), "=", path, ": ", std::string(reason)));
}

absl::StatusOr<std::string> ReadFile(std::string_view option, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Unusable(option, path, "cannot be opened");
  std::string bytes(kMaxFileBytes + 1, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (file.bad()) return Unusable(option, path, "cannot be read");
  bytes.resize(static_cast<size_t>(file.gcount()));
  if (bytes.size() > kMaxFileBytes) return Unusable(option, path, "is larger than 1 MiB");
  return bytes;
}

// gRPC would not say what is wrong with it until a handshake fails, and hardly then.
absl::StatusOr<std::string> ReadPem(std::string_view option, const std::string& path, std::string_view kind) {
  absl::StatusOr<std::string> pem = ReadFile(option, path);
  if (pem.ok() && pem->find(std::string(kind) + "-----") == std::string::npos) {
    return Unusable(option, path, absl::StrCat("holds no ", std::string(kind), " in PEM form"));
  }
  return pem;
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile("token_file", path);
  if (!text.ok()) return text;
  std::string token(absl::StripAsciiWhitespace(*text));
  const bool visible = std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (token.empty() || token.size() > kMaxTokenBytes || !visible) {
    return Unusable("token_file", path, "holds no token, which is 1 to 1024 visible ASCII characters");
  }
  return token;
}

// HOST, or [HOST] in IPv6, of one server's address, which may have a port.
std::string HostOf(std::string_view address) {
  if (address.starts_with('[')) return std::string(address.substr(0, address.find(']') + 1));
  return std::string(address.substr(0, address.find(':')));
}

bool IsLoopback(const std::string& host) {
  if (host == "localhost" || host == "[::1]") return true;
  in_addr v4{};
  return inet_pton(AF_INET, host.c_str(), &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

}  // namespace

bool IsLocal(std::string_view server) {
  if (server.starts_with("unix:")) return true;
  if (server.starts_with("ipv4:") || server.starts_with("ipv6:")) server.remove_prefix(5);
  while (true) {
    const size_t end = server.find(',');
    if (!IsLoopback(HostOf(server.substr(0, end)))) return false;
    if (end == std::string_view::npos) return true;
    server.remove_prefix(end + 1);
  }
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const ClientOptions& options) {
  if (!options.token_file.empty() && !options.tls && !options.allow_plaintext_tokens &&
      !IsLocal(options.server)) {
    return absl::InvalidArgumentError(
        absl::StrCat("ClientOptions.token_file: the token would cross the network in the clear to ",
                     options.server, "; expected tls, or allow_plaintext_tokens"));
  }
  const std::pair<const char*, const std::string*> files[] = {{"server_ca", &options.server_ca},
                                                              {"client_cert", &options.client_cert},
                                                              {"client_key", &options.client_key}};
  if (!options.tls) {
    for (const auto& [option, path] : files) {
      if (!path->empty()) {
        return absl::InvalidArgumentError(absl::StrCat("ClientOptions.", option, "=", *path, " needs tls"));
      }
    }
    return grpc::InsecureChannelCredentials();
  }
  if (options.client_cert.empty() != options.client_key.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("ClientOptions.",
                                                   options.client_cert.empty() ? "client_cert" : "client_key",
                                                   " is missing: client_cert and client_key go together"));
  }
  grpc::SslCredentialsOptions ssl;
  std::string* const contents[] = {&ssl.pem_root_certs, &ssl.pem_cert_chain, &ssl.pem_private_key};
  for (size_t i = 0; i < std::size(files); ++i) {
    if (files[i].second->empty()) continue;
    absl::StatusOr<std::string> pem =
        ReadPem(files[i].first, *files[i].second, i == 2 ? "PRIVATE KEY" : "CERTIFICATE");
    if (!pem.ok()) return pem.status();
    *contents[i] = *std::move(pem);
  }
  return grpc::SslCredentials(ssl);
}

absl::StatusOr<std::unique_ptr<TokenFile>> TokenFile::Open(std::string path) {
  absl::StatusOr<std::string> token = ReadToken(path);
  if (!token.ok()) return token.status();
  return std::unique_ptr<TokenFile>(new TokenFile(std::move(path), absl::StrCat("Bearer ", *token)));
}

TokenFile::TokenFile(std::string path, std::string authorization)
    : path_(std::move(path)),
      authorization_(std::move(authorization)),
      next_look_(Clock::now() + kTimeBetweenLooks) {}

std::string TokenFile::Authorization() {
  const Clock::time_point now = Clock::now();
  const std::lock_guard lock(mu_);
  if (now >= next_look_) {
    next_look_ = now + kTimeBetweenLooks;
    if (const absl::StatusOr<std::string> token = ReadToken(path_); token.ok()) {
      authorization_ = absl::StrCat("Bearer ", *token);
    }
  }
  return authorization_;
}

}  // namespace kldiv::internal
