#include <algorithm>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/command_line.h"
#include "server/base/flag_registry.h"

namespace kldiv::base {
namespace {

constexpr size_t kWidth = 80;
constexpr absl::string_view kIndent = "      ";

// `text` in lines of at most kWidth, each behind kIndent.
std::string Wrapped(const std::string& text) {
  std::string out;
  std::string line(kIndent);
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (line.size() + 1 + word.size() > kWidth && line.size() > kIndent.size()) {
      absl::StrAppend(&out, line, "\n");
      line = std::string(kIndent);
    }
    absl::StrAppend(&line, line.size() > kIndent.size() ? " " : "", word);
  }
  return absl::StrCat(out, line, "\n");
}

std::string Entry(const absl::CommandLineFlag& flag) {
  const std::string value = flag.DefaultValue();
  return absl::StrCat("  --", flag.Name(), " (default: ", value.empty() ? "empty" : value, ")\n",
                      Wrapped(flag.Help()));
}

}  // namespace

std::string HelpText(std::string_view usage, std::span<const FlagGroup> groups) {
  std::string text(usage);
  if (!text.empty() && text.back() != '\n') text += '\n';
  std::map<std::string, absl::CommandLineFlag*> rest = ProgramFlags();
  for (const FlagGroup& group : groups) {
    absl::StrAppend(&text, "\n", std::string(group.title), ":\n");
    for (const std::string_view name : group.flags) {
      const auto found = rest.find(std::string(name));
      if (found == rest.end()) continue;
      text += Entry(*found->second);
      rest.erase(found);
    }
  }
  if (!rest.empty()) absl::StrAppend(&text, groups.empty() ? "\nFlags:\n" : "\nOther flags:\n");
  for (const auto& [name, flag] : rest) text += Entry(*flag);
  absl::StrAppend(&text,
                  "\nEach flag can be set in the environment too, as KLDIV_ and its name in capitals.\n");
  return text;
}

}  // namespace kldiv::base
