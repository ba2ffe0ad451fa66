#ifndef KLDIV_CLIENT_TOOL_COMMANDS_H_
#define KLDIV_CLIENT_TOOL_COMMANDS_H_

#include <string>

#include "client/tool/flags.h"
#include "client/tool/output.h"

// The commands of `kldiv`. Each prints its result on stdout, everything else on stderr, and returns the
// program's exit code.
namespace kldiv::tool {

// kldiv eval INPUT.npy TARGET.npy: kFailed when the evaluation failed, kUsage when a file cannot be used.
ExitCode Eval(const Settings& settings, const std::string& input_path, const std::string& target_path);

// kldiv info: kFailed when the server cannot be asked.
ExitCode Info(const Settings& settings);

// kldiv health: kSuccess when the server is serving.
ExitCode CheckHealth(const Settings& settings);

}  // namespace kldiv::tool

#endif  // KLDIV_CLIENT_TOOL_COMMANDS_H_
