// The program kldiv: evaluates NumPy files through a server or in the process itself, asks servers how they
// are.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/tool/commands.h"
#include "client/tool/flags.h"
#include "client/tool/output.h"
#include "server/base/command_line.h"
#include "server/base/version.h"

namespace kldiv::tool {
namespace {

constexpr char kUsageText[] =
    "usage: kldiv eval INPUT.npy TARGET.npy [--flag=value ...]   the divergence of two files\n"
    "       kldiv info [--flag=value ...]                        facts about the server\n"
    "       kldiv health [--flag=value ...]                      SERVING or NOT_SERVING\n"
    "\n"
    "Kullback-Leibler divergence as torch.nn.KLDivLoss defines it. INPUT holds log-probabilities of the "
    "model, TARGET "
    "the\n"
    "probabilities observed: float16, float32 or float64 in C order, of one shape.\n"
    "\n"
    "Exit codes: 0 (health: serving), 1 the call failed (health: not serving), 2 bad usage or a file that "
    "cannot be "
    "used.\n";

int Run(const base::CommandLine& line, const Settings& settings) {
  const std::vector<std::string>& words = line.positional;
  const std::string command = words.empty() ? "" : words[0];
  const size_t arguments = words.empty() ? 0 : words.size() - 1;
  if (command == "eval") {
    if (arguments == 2) return Eval(settings, words[1], words[2]);
    return Refuse(absl::InvalidArgumentError(
        absl::StrCat("eval takes two files, INPUT.npy and TARGET.npy, and got ", arguments)));
  }
  if (command == "info" || command == "health") {
    if (arguments == 0) return command == "info" ? Info(settings) : CheckHealth(settings);
    return Refuse(
        absl::InvalidArgumentError(absl::StrCat(command, " takes no arguments and got ", words[1])));
  }
  return Refuse(absl::InvalidArgumentError(
      absl::StrCat(command.empty() ? "no command" : absl::StrCat("unknown command ", command),
                   "; expected eval, info or health (kldiv --help tells more)")));
}

int Main(int argc, char** argv) {
  const absl::StatusOr<base::CommandLine> line = base::ParseCommandLine(argc, argv);
  if (!line.ok()) return Refuse(line.status());
  if (line->help) return PrintResult(base::HelpText(kUsageText, FlagGroups()));
  if (line->version) return PrintResult(absl::StrCat("kldiv ", base::kVersion));
  for (const std::string& warning : line->warnings) PrintLine(warning);
  const absl::StatusOr<Settings> settings = ReadFlags();
  if (!settings.ok()) return Refuse(settings.status());
  return Run(*line, *settings);
}

}  // namespace
}  // namespace kldiv::tool

int main(int argc, char** argv) {
  // gRPC's own lines would stand beside the one that says what went wrong.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  return kldiv::tool::Main(argc, argv);
}
