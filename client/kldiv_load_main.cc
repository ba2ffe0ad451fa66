// The program kldiv-load: puts a server under load, verifies what it answers and measures how long it takes.

#include <signal.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/load/load_command.h"
#include "client/load/settings.h"
#include "client/tool/output.h"
#include "server/base/command_line.h"
#include "server/base/version.h"

namespace kldiv::load {
namespace {

constexpr char kUsageText[] =
    "usage: kldiv-load [--flag=value ...]\n"
    "\n"
    "Puts a server under load, compares every answer with the right one, and tells how long the answers "
    "took.\n"
    "\n"
    "  kldiv-load --concurrency=64 --connections=4       closed loop: 64 calls under way at all times\n"
    "  kldiv-load --rate=5000                            open loop: 5000 calls a second, come what may\n"
    "  kldiv-load --concurrency='1:128:*2'               one run each with 1, 2, 4, ... 128\n"
    "  kldiv-load --slo='p99<5ms' --search               the highest rate that meets it\n"
    "\n"
    "Latency is that of right answers, from when the call was due to the answer, on the monotonic clock; of "
    "all calls\n"
    "that were due in the measured time, whenever they were answered. Rates are of the answers that came in "
    "that time.\n"
    "Percentiles are times that were measured, within 1/1024 of them. Ctrl-C ends a run early, with its "
    "report; a\n"
    "second one cancels the calls under way.\n"
    "\n"
    "Exit codes: 0, 1 no server, a wrong answer, more errors than --max_error_rate or an --slo that was "
    "missed, 2 bad\n"
    "usage, or a server with another numerics_version.\n";

std::atomic<int> interrupts = 0;

void CountInterrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { ++interrupts; };
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

// A connection takes several files of gRPC's.
void AllowManyFiles() {
  rlimit files = {};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

int Main(int argc, char** argv) {
  const absl::StatusOr<base::CommandLine> line = base::ParseCommandLine(argc, argv);
  if (!line.ok()) return tool::Refuse(line.status());
  if (line->help) return tool::PrintResult(base::HelpText(kUsageText, FlagGroups()));
  if (line->version) return tool::PrintResult(absl::StrCat("kldiv-load ", base::kVersion));
  for (const std::string& warning : line->warnings) tool::PrintLine(warning);
  if (!line->positional.empty()) {
    return tool::Refuse(absl::InvalidArgumentError(
        absl::StrCat("takes no arguments but flags, and got ", line->positional[0], " (--help tells more)")));
  }
  absl::StatusOr<Settings> settings = ReadFlags();
  if (!settings.ok()) return tool::Refuse(settings.status());
  CountInterrupts();
  AllowManyFiles();
  return Load(*std::move(settings), std::vector<std::string>(argv, argv + argc),
              [] { return interrupts.load(); });
}

}  // namespace
}  // namespace kldiv::load

int main(int argc, char** argv) {
  // gRPC's own lines would stand between those of the report.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  return kldiv::load::Main(argc, argv);
}
