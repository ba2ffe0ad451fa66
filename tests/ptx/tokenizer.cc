#include "tests/ptx/tokenizer.h"

#include <algorithm>
#include <cctype>

namespace kldiv::ptx {
namespace {

bool IsWordCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '%' || c == '.';
}

// The end of the word that begins at `at`; "::" belongs to it when more follows, as in L1::no_allocate.
size_t WordEnd(std::string_view text, size_t at) {
  while (at < text.size()) {
    if (IsWordCharacter(text[at])) {
      ++at;
    } else if (text.substr(at, 2) == "::" && at + 2 < text.size() && IsWordCharacter(text[at + 2])) {
      at += 2;
    } else {
      break;
    }
  }
  return at;
}

// The end of what begins at `at` and ends with `end`.
size_t EndAfter(std::string_view text, size_t at, std::string_view end) {
  const size_t found = text.find(end, at);
  return found == std::string_view::npos ? text.size() : found + end.size();
}

}  // namespace

std::vector<Token> Tokenize(std::string_view text) {
  std::vector<Token> tokens;
  int line = 1;
  for (size_t at = 0; at < text.size();) {
    size_t end = at + 1;
    bool keep = true;
    if (std::isspace(static_cast<unsigned char>(text[at])) != 0) {
      keep = false;
    } else if (text.substr(at, 2) == "//") {
      end = EndAfter(text, at, "\n");
      keep = false;
    } else if (text.substr(at, 2) == "/*") {
      end = EndAfter(text, at, "*/");
      keep = false;
    } else if (text[at] == '"') {
      end = EndAfter(text, at + 1, "\"");
    } else if (IsWordCharacter(text[at])) {
      end = WordEnd(text, at);
    }
    if (keep) tokens.push_back({std::string(text.substr(at, end - at)), line});
    line += static_cast<int>(
        std::count(text.begin() + static_cast<long>(at), text.begin() + static_cast<long>(end), '\n'));
    at = end;
  }
  return tokens;
}

}  // namespace kldiv::ptx
