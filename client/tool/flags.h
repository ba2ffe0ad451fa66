#ifndef KLDIV_CLIENT_TOOL_FLAGS_H_
#define KLDIV_CLIENT_TOOL_FLAGS_H_

#include <chrono>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "client/include/kldiv/client.h"
#include "server/base/command_line.h"

// The flags of `kldiv`, validated.
namespace kldiv::tool {

enum class Format { kText, kJson };

struct Settings {
  ClientOptions client;
  Format format = Format::kText;
  std::chrono::nanoseconds timeout{0};

  // Of `kldiv eval`.
  Reduction reduction = Reduction::kMean;
  bool log_target = false;
  ZeroTarget zero_target = ZeroTarget::kTorch;
  bool local = false;
  std::string output;  // empty: not given
};

// Reads the registry, after ParseCommandLine. INVALID_ARGUMENT: a one-line reason that names the flag.
absl::StatusOr<Settings> ReadFlags();

// The groups of --help.
std::span<const base::FlagGroup> FlagGroups();

}  // namespace kldiv::tool

#endif  // KLDIV_CLIENT_TOOL_FLAGS_H_
