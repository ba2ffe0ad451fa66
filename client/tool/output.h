#ifndef KLDIV_CLIENT_TOOL_OUTPUT_H_
#define KLDIV_CLIENT_TOOL_OUTPUT_H_

#include <string>

#include "absl/status/status.h"

// How the client programs end and what they print.
namespace kldiv::tool {

enum ExitCode { kSuccess = 0, kFailed = 1, kUsage = 2 };

// The shortest digits that give `value` again, or nan, inf, -inf.
std::string FormatLoss(double value);

// One line on stderr, "PROGRAM: TEXT" with the program's name; control characters in the text become spaces.
void PrintLine(const std::string& text);

// An error that is not the user's to mend on the command line: prints "PROGRAM: CONTEXT: CODE: text" and
// returns kFailed.
ExitCode Fail(const std::string& context, const absl::Status& status);

// Bad usage or a file that cannot be used: prints "PROGRAM: text" and returns kUsage.
ExitCode Refuse(const absl::Status& status);

// Writes the result to stdout, and a line feed. kFailed when stdout takes it not.
ExitCode PrintResult(const std::string& text);

}  // namespace kldiv::tool

#endif  // KLDIV_CLIENT_TOOL_OUTPUT_H_
