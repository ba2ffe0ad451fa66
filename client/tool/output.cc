#include "client/tool/output.h"

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"

namespace kldiv::tool {

std::string FormatLoss(double value) {
  if (std::isnan(value)) return "nan";  // Of either sign.
  char digits[32];
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof digits, value);
  return {digits, end.ptr};
}

void PrintLine(const std::string& text) {
  std::string line = absl::StrCat(program_invocation_short_name, ": ", text);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = ' ';
  }
  std::fprintf(stderr, "%s\n", line.c_str());
}

ExitCode Fail(const std::string& context, const absl::Status& status) {
  PrintLine(absl::StrCat(context, ": ", absl::StatusCodeToString(status.code()), ": ", status.message()));
  return kFailed;
}

ExitCode Refuse(const absl::Status& status) {
  PrintLine(std::string(status.message()));
  return kUsage;
}

ExitCode PrintResult(const std::string& text) {
  std::printf("%s\n", text.c_str());
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return kSuccess;
  PrintLine("the result cannot be written to stdout");
  return kFailed;
}

}  // namespace kldiv::tool
