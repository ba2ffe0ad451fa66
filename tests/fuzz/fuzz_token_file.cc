// Any bytes are either refused or a set of tokens in which each plain one is found under its name.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "server/security/tokens.h"

namespace {

void Require(bool condition) {
  if (!condition) abort();
}

// The lines that hold nothing but NAME:TOKEN, taken apart in another way than the parser's.
void CheckPlainTokens(const kldiv::server::TokenSet& tokens, std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const size_t colon = line.find(':');
    const bool has_space = std::ranges::any_of(line, [](char c) { return c <= ' ' || c > '~'; });
    if (colon == std::string_view::npos || has_space || line.front() == '#') continue;
    const std::string_view token = line.substr(colon + 1);
    if (token.starts_with("sha256:")) continue;
    const kldiv::server::Token* const found = tokens.Find(token);
    Require(found != nullptr && found->name == line.substr(0, colon));
    Require(tokens.Has(*found));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using kldiv::server::TokenSet;
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  const std::string_view token = kldiv::server::BearerToken(text);
  Require(token.empty() ||
          (token.data() >= text.data() && token.data() + token.size() <= text.data() + size));

  const absl::StatusOr<TokenSet> tokens = TokenSet::Parse(text);
  if (!tokens.ok()) {
    Require(tokens.status().code() == absl::StatusCode::kInvalidArgument &&
            !tokens.status().message().empty());
    return 0;
  }
  Require(tokens->size() >= 1 && tokens->size() <= TokenSet::kMaxTokens);
  Require(tokens->Find("") == nullptr);
  CheckPlainTokens(*tokens, text);
  return 0;
}
