#include "tests/ptx/token_stream.h"

#include <cctype>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace kldiv::ptx {

TokenStream::TokenStream(std::string_view text) : tokens_(Tokenize(text)) {}

void TokenStream::Fail(const std::string& what) {
  if (!status_.ok()) return;
  status_ = absl::InvalidArgumentError(absl::StrCat("line ", line(), ": ", what, " is not understood"));
  at_ = tokens_.size();
}

int TokenStream::line() const {
  if (tokens_.empty()) return 0;
  return tokens_[at_ > 0 ? at_ - 1 : 0].line;
}

const std::string& TokenStream::Peek(size_t ahead) const {
  static const auto& none = *new std::string;
  return at_ + ahead < tokens_.size() ? tokens_[at_ + ahead].text : none;
}

std::string TokenStream::Next() { return AtEnd() ? std::string() : tokens_[at_++].text; }

bool TokenStream::Accept(const std::string& text) {
  if (AtEnd() || tokens_[at_].text != text) return false;
  ++at_;
  return true;
}

void TokenStream::Expect(const std::string& text) {
  const std::string got = Next();
  if (got != text) Fail(absl::StrCat("'", got, "' instead of '", text, "'"));
}

uint64_t TokenStream::ParseNumber() {
  const bool negative = Accept("-");
  std::string word = Next();
  uint64_t value = 0;
  bool read = false;
  if (absl::StartsWithIgnoreCase(word, "0d") || absl::StartsWithIgnoreCase(word, "0f")) {
    const size_t digits = std::tolower(word[1]) == 'd' ? 16 : 8;
    read = !negative && word.size() == 2 + digits && absl::SimpleHexAtoi(word.substr(2), &value);
  } else {
    if (!word.empty() && word.back() == 'U') word.pop_back();
    read = absl::StartsWithIgnoreCase(word, "0x") ? absl::SimpleHexAtoi(word, &value)
                                                  : absl::SimpleAtoi(word, &value);
  }
  if (!read) Fail(absl::StrCat("number '", word, "'"));
  return negative ? uint64_t{0} - value : value;
}

TokenStream::Declaration TokenStream::ParseDeclaration() {
  Declaration declared;
  uint64_t alignment = 0;
  if (Accept(".align")) alignment = ParseNumber();
  declared.element_bytes = TypeBits(Next()) / 8u;
  // Attributes of a kernel's parameters, which change nothing here.
  if (Accept(".ptr")) {
    while (Peek() == ".global" || Peek() == ".align") {
      if (Next() == ".align") ParseNumber();
    }
  }
  declared.name = Next();
  if (Accept("[")) {
    declared.count = static_cast<uint32_t>(ParseNumber());
    Expect("]");
  }
  declared.alignment = alignment > 0 ? static_cast<uint32_t>(alignment) : declared.element_bytes;
  if (declared.alignment == 0 || declared.alignment > 256) Fail("the alignment of " + declared.name);
  return declared;
}

uint8_t TokenStream::TypeBits(const std::string& word) {
  if (word == ".pred") return 1;
  uint32_t bits = 0;
  const bool known = word.size() >= 3 && word[0] == '.' && absl::StrContains("busf", word[1]) &&
                     absl::SimpleAtoi(word.substr(2), &bits) &&
                     (bits == 8 || bits == 16 || bits == 32 || bits == 64);
  if (!known) Fail("type '" + word + "'");
  return known ? static_cast<uint8_t>(bits) : uint8_t{8};
}

bool IsNumber(const std::string& word) {
  return word == "-" || (!word.empty() && std::isdigit(static_cast<unsigned char>(word[0])) != 0);
}

}  // namespace kldiv::ptx
