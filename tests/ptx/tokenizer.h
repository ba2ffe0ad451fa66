#ifndef KLDIV_TESTS_PTX_TOKENIZER_H_
#define KLDIV_TESTS_PTX_TOKENIZER_H_

#include <string>
#include <string_view>
#include <vector>

namespace kldiv::ptx {

// A word (name, directive, instruction with its modifiers, number), a quoted string, or one character of
// punctuation.
struct Token {
  std::string text;
  int line = 0;
};

// The tokens of PTX text, without comments.
std::vector<Token> Tokenize(std::string_view text);

}  // namespace kldiv::ptx

#endif  // KLDIV_TESTS_PTX_TOKENIZER_H_
