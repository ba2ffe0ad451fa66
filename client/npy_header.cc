#include "client/npy_header.h"

#include <charconv>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace kldiv::npy {
namespace {

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

// Reads a Python literal from left to right. After the first error everything fails and the error stays.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  const absl::Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }

  bool AtEnd() {
    SkipSpace();
    return position_ == text_.size();
  }

  // Takes `token` if it comes next.
  bool Take(std::string_view token) {
    SkipSpace();
    if (!ok() || !text_.substr(position_).starts_with(token)) return false;
    position_ += token.size();
    return true;
  }

  void Expect(std::string_view token) {
    if (!Take(token)) Fail(absl::StrCat("expected ", ToAbsl(token)));
  }

  // A string in single or double quotes, without escapes.
  std::string String() {
    SkipSpace();
    const char quote = position_ < text_.size() ? text_[position_] : '\0';
    const size_t end =
        quote == '\'' || quote == '"' ? text_.find(quote, position_ + 1) : std::string_view::npos;
    if (end == std::string_view::npos) {
      Fail("expected a string");
      return {};
    }
    std::string value(text_.substr(position_ + 1, end - position_ - 1));
    if (value.find('\\') != std::string::npos) Fail("expected a string without escapes");
    position_ = end + 1;
    return value;
  }

  bool Bool() {
    if (Take("True")) return true;
    Expect("False");
    return false;
  }

  // A tuple of sizes: (), (3,), (3, 4) or (3, 4,).
  std::vector<int64_t> Sizes() {
    std::vector<int64_t> sizes;
    Expect("(");
    bool comma = true;
    while (ok() && !Take(")")) {
      if (!comma) Fail("expected , or )");
      if (sizes.size() == kMaxDimensions) Fail(absl::StrCat("more than ", kMaxDimensions, " dimensions"));
      sizes.push_back(Size());
      comma = Take(",");
    }
    // (3) is a number in Python.
    if (ok() && sizes.size() == 1 && !comma) Fail("expected a tuple");
    return sizes;
  }

  void Fail(absl::string_view why) {
    if (!ok()) return;
    status_ = absl::InvalidArgumentError(absl::StrCat("the header's dictionary is not valid: ", why, " at \"",
                                                      absl::CHexEscape(ToAbsl(text_.substr(position_, 16))),
                                                      "\" (byte ", position_, ")"));
  }

 private:
  void SkipSpace() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\n')) ++position_;
  }

  int64_t Size() {
    SkipSpace();
    int64_t value = 0;
    const char* const begin = text_.data() + position_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error == std::errc::result_out_of_range) Fail("a dimension over 2^63 - 1");
    if (error != std::errc() || value < 0 || *begin == '-') Fail("expected a size");
    // Python has no number with leading zeros but 0 itself.
    if (ok() && *begin == '0' && end - begin > 1) Fail("expected a size");
    position_ += static_cast<size_t>(end - begin);
    return value;
  }

  const std::string_view text_;
  size_t position_ = 0;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<Dictionary> ParseDictionary(std::string_view text) {
  Reader reader(text);
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<int64_t>> shape;
  reader.Expect("{");
  bool comma = true;
  while (reader.ok() && !reader.Take("}")) {
    if (!comma) reader.Fail("expected , or }");
    const std::string key = reader.String();
    reader.Expect(":");
    if (key == "descr" && !descr) {
      if (reader.Take("["))
        reader.Fail("structured dtypes are not supported; expected float16, float32 or float64");
      descr = reader.String();
    } else if (key == "fortran_order" && !fortran_order) {
      fortran_order = reader.Bool();
    } else if (key == "shape" && !shape) {
      shape = reader.Sizes();
    } else {
      reader.Fail("expected the keys descr, fortran_order and shape, each once, before");
    }
    comma = reader.Take(",");
  }
  if (reader.ok() && !reader.AtEnd()) reader.Fail("expected nothing more");
  if (!reader.ok()) return reader.status();
  if (!descr || !fortran_order || !shape) {
    return absl::InvalidArgumentError(absl::StrCat("the header's dictionary has no ", !descr ? "descr"
                                                                                      : !fortran_order
                                                                                          ? "fortran_order"
                                                                                          : "shape"));
  }
  return Dictionary{*std::move(descr), *fortran_order, *std::move(shape)};
}

}  // namespace kldiv::npy
