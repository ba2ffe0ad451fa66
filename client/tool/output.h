#ifndef KLDIV_CLIENT_TOOL_OUTPUT_H_
#define KLDIV_CLIENT_TOOL_OUTPUT_H_

#include <string>

#include "absl/status/status.h"

// How `kldiv` ends and what it prints.
namespace kldiv::tool {

enum ExitCode { kSuccess = 0, kFailed = 1, kUsage = 2 };

// The shortest digits that give `value` again, or nan, inf, -inf.
std::string FormatLoss(double value);

// One line on stderr, "kldiv: TEXT"; control characters in the text become spaces.
void PrintLine(const std::string& text);

// An error that is not the user's to mend on the command line: prints "kldiv: CONTEXT: CODE: text" and
// returns kFailed.
ExitCode Fail(const std::string& context, const absl::Status& status);

// Bad usage or a file that cannot be used: prints "kldiv: text" and returns kUsage.
ExitCode Refuse(const absl::Status& status);

// Writes the result to stdout, and a line feed. kFailed when stdout takes it not.
ExitCode PrintResult(const std::string& text);

}  // namespace kldiv::tool

#endif  // KLDIV_CLIENT_TOOL_OUTPUT_H_
