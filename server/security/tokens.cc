#include "server/security/tokens.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace kldiv::server {
namespace {

constexpr std::string_view kHashed = "sha256:";
constexpr size_t kMaxNameBytes = 64;

bool IsNameCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_';
}

std::string_view Trimmed(std::string_view text) {
  const auto is_space = [](char c) { return absl::ascii_isspace(static_cast<unsigned char>(c)); };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::optional<TokenDigest> FromHex(std::string_view hex) {
  Sha256Bytes bytes;
  if (hex.size() != 2 * bytes.size() ||
      !std::ranges::all_of(hex, [](char c) { return absl::ascii_isxdigit(static_cast<unsigned char>(c)); })) {
    return std::nullopt;
  }
  const auto value = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<uint8_t>(value(hex[2 * i]) << 4 | value(hex[2 * i + 1]));
  }
  return TokenDigest(bytes);
}

}  // namespace

absl::StatusOr<TokenSet> TokenSet::Parse(std::string_view text) {
  TokenSet set;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    if (absl::Status status = set.AddLine(line); !status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", status.message()));
    }
  }
  if (set.tokens_.empty()) return absl::InvalidArgumentError("there is no token in it");
  return set;
}

absl::Status TokenSet::AddLine(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) {
    return absl::InvalidArgumentError("expected NAME:TOKEN or NAME:sha256:HEX");
  }
  const std::string_view name = line.substr(0, colon);
  if (name.empty() || name.size() > kMaxNameBytes || !std::ranges::all_of(name, IsNameCharacter)) {
    return absl::InvalidArgumentError(
        "the name must be 1 to 64 letters, digits, dots, hyphens and underscores");
  }
  const std::string_view token = line.substr(colon + 1);
  std::optional<TokenDigest> digest;
  if (absl::StartsWithIgnoreCase({token.data(), token.size()}, {kHashed.data(), kHashed.size()})) {
    digest = FromHex(token.substr(kHashed.size()));
    if (!digest.has_value()) {
      return absl::InvalidArgumentError("expected 64 hexadecimal digits after sha256:");
    }
  } else {
    if (token.empty() || token.size() > kMaxTokenBytes ||
        !std::ranges::all_of(token, [](char c) { return c > ' ' && c <= '~'; })) {
      return absl::InvalidArgumentError("the token must be 1 to 1024 visible ASCII characters");
    }
    digest = TokenDigest::Of(token);
  }
  if (Find(*digest) != nullptr) return absl::InvalidArgumentError("this token is in the file twice");
  if (tokens_.size() == kMaxTokens) return absl::InvalidArgumentError("more than 1000 tokens");
  tokens_.push_back({std::string(name), *digest});
  return absl::OkStatus();
}

const Token* TokenSet::Find(std::string_view token) const {
  // No entry is shorter or longer, which is no secret.
  if (token.empty() || token.size() > kMaxTokenBytes) return nullptr;
  return Find(TokenDigest::Of(token));
}

const Token* TokenSet::Find(const TokenDigest& digest) const {
  size_t found = 0;  // its place, from 1
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const Sha256Bytes& bytes = tokens_[i].digest.bytes_;
    const bool same = CRYPTO_memcmp(bytes.data(), digest.bytes_.data(), bytes.size()) == 0;
    found += same * (i + 1);
  }
  return found == 0 ? nullptr : &tokens_[found - 1];
}

std::shared_ptr<const Token> FindToken(std::shared_ptr<const TokenSet> tokens, std::string_view token) {
  const Token* const found = tokens->Find(token);
  if (found == nullptr) return nullptr;
  return {std::move(tokens), found};
}

std::string_view BearerToken(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() < kScheme.size()) return {};
  const bool is_bearer = std::ranges::equal(authorization.substr(0, kScheme.size()), kScheme, {}, [](char c) {
    return absl::ascii_tolower(static_cast<unsigned char>(c));
  });
  return is_bearer ? Trimmed(authorization.substr(kScheme.size())) : std::string_view();
}

absl::StatusOr<std::unique_ptr<Tokens>> LoadTokens(const std::string& path) {
  const FlagFile file{"token_file", path};
  return Tokens::Load("tokens", {file},
                      [file](std::vector<std::string> contents) -> absl::StatusOr<TokenSet> {
                        absl::StatusOr<TokenSet> tokens = TokenSet::Parse(contents.front());
                        if (tokens.ok()) return tokens;
                        const absl::string_view reason = tokens.status().message();
                        return file.Error({reason.data(), reason.size()});
                      });
}

}  // namespace kldiv::server
