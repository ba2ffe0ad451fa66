#ifndef KLDIV_TESTS_PTX_TOKEN_STREAM_H_
#define KLDIV_TESTS_PTX_TOKEN_STREAM_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "tests/ptx/tokenizer.h"

namespace kldiv::ptx {

// What a parser reads its tokens from, and where it leaves its first error; after an error every token is
// empty.
class TokenStream {
 public:
  explicit TokenStream(std::string_view text);

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }
  // Records "line N: `what` is not understood".
  void Fail(const std::string& what);

  bool AtEnd() const { return at_ >= tokens_.size(); }
  int line() const;
  const std::string& Peek(size_t ahead = 0) const;
  std::string Next();
  bool Accept(const std::string& text);
  void Expect(const std::string& text);

  // A number in any of PTX's forms, with a sign; floating-point constants (0d…, 0f…) as their bits.
  uint64_t ParseNumber();

  // [.align N] .type name[count], what follows .const, .shared or .param; `[count]` may be missing.
  struct Declaration {
    uint32_t alignment = 0;  // that of the type if not given
    uint32_t element_bytes = 0;
    uint32_t count = 1;
    std::string name;
  };
  Declaration ParseDeclaration();

  // 8, 16, 32 or 64 for ".b32" and the like, 1 for ".pred"; fails for other words.
  uint8_t TypeBits(const std::string& word);

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
  absl::Status status_;
};

// Whether the word begins like a number.
bool IsNumber(const std::string& word);

}  // namespace kldiv::ptx

#endif  // KLDIV_TESTS_PTX_TOKEN_STREAM_H_
