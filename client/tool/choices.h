#ifndef KLDIV_CLIENT_TOOL_CHOICES_H_
#define KLDIV_CLIENT_TOOL_CHOICES_H_

#include <array>
#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/include/kldiv/client.h"

// Flags whose value is one of several names.
namespace kldiv::tool {

template <typename T, size_t n>
using Choices = std::array<std::pair<const char*, T>, n>;

// The value that goes with `text`. INVALID_ARGUMENT names the flag and its values.
template <typename T, size_t n>
absl::StatusOr<T> Choose(absl::string_view flag, const std::string& text, const Choices<T, n>& choices) {
  for (const auto& [name, value] : choices) {
    if (text == name) return value;
  }
  const auto name_of = [](std::string* out, const auto& choice) { out->append(choice.first); };
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, "=", text, ": expected one of ", absl::StrJoin(choices, ", ", name_of)));
}

// The name of a value that is one of them.
template <typename T, size_t n>
const char* NameIn(const Choices<T, n>& choices, T value) {
  for (const auto& choice : choices) {
    if (choice.second == value) return choice.first;
  }
  return "";
}

inline constexpr Choices<Reduction, 4> kReductions = {{{"none", Reduction::kNone},
                                                       {"mean", Reduction::kMean},
                                                       {"batchmean", Reduction::kBatchMean},
                                                       {"sum", Reduction::kSum}}};

}  // namespace kldiv::tool

#endif  // KLDIV_CLIENT_TOOL_CHOICES_H_
