#ifndef KLDIV_SERVER_BASE_COMMAND_LINE_H_
#define KLDIV_SERVER_BASE_COMMAND_LINE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Command lines and environment for all programs, over Abseil's flag registry (ABSL_FLAG). Abseil's own
// parser ends a program with 1 for bad usage and reads FLAGS_ variables; the contract asks for 2 and KLDIV_.
namespace kldiv::base {

// A number of bytes, as a flag's type: "64MiB", "1GiB", "512KiB", "1000". Never negative. For durations use
// absl::Duration, which needs a unit.
struct ByteSize {
  int64_t bytes = 0;
};
bool AbslParseFlag(absl::string_view text, ByteSize* size, std::string* error);
std::string AbslUnparseFlag(ByteSize size);

struct CommandLine {
  std::vector<std::string> positional;  // what is no flag, in order; all that follows "--"
  bool help = false;                    // --help was given
  bool version = false;                 // --version was given
  std::vector<std::string> warnings;    // unknown KLDIV_ variables that do not look like Kubernetes' own
};

// Sets the registry's flags of this program from KLDIV_<FLAG IN CAPITALS> variables, then from the arguments.
//
// `--flag=value` and `--flag value`, `--x` and `--nox` for bools, one hyphen or two, hyphens equal
// underscores, the last one wins. With --help or --version the environment's values are not judged.
// INVALID_ARGUMENT: a one-line reason for the user, naming the flag or the variable; programs print it and
// end with 2. Some flags may have been set then.
absl::StatusOr<CommandLine> ParseCommandLine(int argc, char** argv);

// A heading of --help and the flags below it, in their order.
struct FlagGroup {
  std::string_view title;
  std::vector<std::string_view> flags;  // names as in ABSL_FLAG
};

// The text of --help: `usage` (its lines as they are), then this program's flags with defaults and
// descriptions: those of `groups` first, the rest by name.
std::string HelpText(std::string_view usage, std::span<const FlagGroup> groups = {});

}  // namespace kldiv::base

#endif  // KLDIV_SERVER_BASE_COMMAND_LINE_H_
