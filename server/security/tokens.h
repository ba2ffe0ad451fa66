#ifndef KLDIV_SERVER_SECURITY_TOKENS_H_
#define KLDIV_SERVER_SECURITY_TOKENS_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/security/reloaded.h"
#include "server/security/sha256.h"

namespace kldiv::server {

// What is kept of a token. Two of them are compared by TokenSet alone, in constant time.
class TokenDigest {
 public:
  static TokenDigest Of(std::string_view token) { return TokenDigest(Sha256(token)); }
  explicit TokenDigest(const Sha256Bytes& bytes) : bytes_(bytes) {}

  bool operator==(const TokenDigest&) const = delete;

 private:
  friend class TokenSet;
  Sha256Bytes bytes_;
};

// One that lets its holder in.
struct Token {
  std::string name;  // whose it is; not secret
  TokenDigest digest;
};

// The tokens of a file. Immutable; thread-safe.
//
// One a line, NAME:TOKEN or NAME:sha256:HEX with the SHA-256 of the token; a name may have several. NAME is 1
// to 64 letters, digits, dots, hyphens and underscores; TOKEN 1 to 1024 visible ASCII characters. Empty lines
// and lines that begin with # say nothing; white space around a line does not count.
class TokenSet {
 public:
  static constexpr size_t kMaxTokens = 1000;
  static constexpr size_t kMaxTokenBytes = 1024;

  // INVALID_ARGUMENT: the line's number and what is wrong with it, but nothing of what it holds. A file
  // without a token, or with one twice, is not valid: half a file must not pass for a whole one.
  static absl::StatusOr<TokenSet> Parse(std::string_view text);

  // The entry of a token that somebody shows, null when there is none; the empty one has none. Looks at all
  // of them, whichever it is.
  const Token* Find(std::string_view token) const;
  // Is the same token in this set, too?
  bool Has(const Token& token) const { return Find(token.digest) != nullptr; }

  size_t size() const { return tokens_.size(); }

 private:
  absl::Status AddLine(std::string_view line);
  const Token* Find(const TokenDigest& digest) const;

  std::vector<Token> tokens_;
};

// The entry of a token, which keeps its set; null when there is none.
std::shared_ptr<const Token> FindToken(std::shared_ptr<const TokenSet> tokens, std::string_view token);

// The token of an `authorization` header, "Bearer TOKEN"; empty when it has none.
std::string_view BearerToken(std::string_view authorization);

// Tokens that follow their file, which the flag token_file names.
using Tokens = Reloaded<TokenSet>;
absl::StatusOr<std::unique_ptr<Tokens>> LoadTokens(const std::string& path);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_SECURITY_TOKENS_H_
