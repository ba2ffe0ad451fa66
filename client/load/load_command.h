#ifndef KLDIV_CLIENT_LOAD_LOAD_COMMAND_H_
#define KLDIV_CLIENT_LOAD_LOAD_COMMAND_H_

#include <functional>
#include <string>
#include <vector>

#include "client/load/settings.h"
#include "client/tool/output.h"

namespace kldiv::load {

// All that `kldiv-load` does with its settings: runs them, prints the table on stdout and everything else on
// stderr, writes the files. `command`: the words that it was called with. `interrupts`: see RunObserver.
//
// kFailed when the server cannot be asked at the start, an answer was wrong, more calls failed than allowed
// or the SLO was missed; kUsage when the data or a file cannot be used, or the server's numerics_version is
// another one.
tool::ExitCode Load(Settings settings, std::vector<std::string> command, std::function<int()> interrupts);

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_LOAD_COMMAND_H_
