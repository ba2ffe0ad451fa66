#include "server/base/command_line.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/flags/reflection.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "server/base/flag_registry.h"

// The environment as POSIX declares it: by the program.
extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace kldiv::base {
namespace {

constexpr absl::string_view kEnvironmentPrefix = "KLDIV_";

struct Unit {
  absl::string_view name;
  int64_t bytes;
};
constexpr Unit kUnits[] = {{"GiB", int64_t{1} << 30}, {"MiB", int64_t{1} << 20}, {"KiB", int64_t{1} << 10}};

using Flags = std::map<std::string, absl::CommandLineFlag*>;

absl::CommandLineFlag* Find(const Flags& flags, const std::string& name) {
  const auto found = flags.find(name);
  return found == flags.end() ? nullptr : found->second;
}

// What a value should have looked like, in a user's words; empty for types that only the flag itself knows.
absl::string_view Expectation(const absl::CommandLineFlag& flag) {
  if (flag.IsOfType<bool>()) return "true or false";
  if (flag.IsOfType<ByteSize>()) return "a size such as 64MiB, 512KiB or 1000 (bytes)";
  if (flag.IsOfType<absl::Duration>()) return "a duration with its unit, such as 10ms, 5s or 1m";
  if (flag.IsOfType<int32_t>() || flag.IsOfType<int64_t>()) return "a whole number";
  if (flag.IsOfType<uint32_t>() || flag.IsOfType<uint64_t>()) return "a whole number, not negative";
  if (flag.IsOfType<double>() || flag.IsOfType<float>()) return "a number";
  return "";
}

// `shown` is the flag or the variable as the user wrote it.
absl::Status SetFlag(absl::CommandLineFlag& flag, absl::string_view shown, absl::string_view value) {
  std::string error;
  if (flag.ParseFrom(value, &error)) return absl::OkStatus();
  const absl::string_view expectation = Expectation(flag);
  return absl::InvalidArgumentError(expectation.empty()
                                        ? absl::StrCat(shown, ": ", error)
                                        : absl::StrCat(shown, ": \"", value, "\" is not ", expectation));
}

// Kubernetes describes every service of a namespace to every container; a service named kldiv-… lands here.
bool LooksLikeKubernetes(absl::string_view variable) {
  return absl::StrContains(variable, "_PORT") || absl::StrContains(variable, "_SERVICE_");
}

// One environment may serve all programs of the project: a variable for another one is no mistake.
bool IsFlagOfOurs(absl::string_view name) {
  static constexpr absl::string_view kFlags[] = {
      // kldiv-server
      "allow_plaintext_tokens", "backend", "check_config", "cpu_threads", "cuda_devices", "cuda_lanes",
      "cuda_min_batch_elements", "drain_delay", "drain_timeout", "health_listen", "listen", "log_format",
      "max_batch_bytes", "max_connection_age", "max_connections", "max_in_flight_per_stream", "max_memory",
      "max_message_bytes", "max_pairs_per_message", "max_queue_bytes", "metrics_listen", "polling_threads",
      "read_timeout", "tls_cert", "tls_client_ca", "tls_key", "token_file", "write_timeout",
      // kldiv
      "client_cert", "client_key", "client_token_file", "format", "local", "log_target", "output",
      "reduction", "server", "server_ca", "timeout", "tls", "zero_target",
      // kldiv-load
      "arrivals", "batch_pairs", "concurrency", "connections", "count", "dtype", "duration", "html", "input",
      "json", "max_error_rate", "mode", "progress", "rate", "search", "seed", "server_timing", "shape", "slo",
      "target", "threads", "verify", "warmup"};
  return std::find(std::begin(kFlags), std::end(kFlags), name) != std::end(kFlags);
}

struct Variable {
  std::string name;
  std::string value;
};

std::vector<Variable> OurVariables() {
  std::vector<Variable> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const absl::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals == absl::string_view::npos || !absl::StartsWith(text, kEnvironmentPrefix)) continue;
    variables.push_back({std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))});
  }
  return variables;
}

// The first variable that cannot be read counts, unless an argument sets its flag.
struct EnvironmentFault {
  std::string flag;
  absl::Status status;
};

std::vector<EnvironmentFault> ApplyEnvironment(const Flags& flags, std::vector<std::string>& warnings) {
  std::vector<EnvironmentFault> faults;
  for (const Variable& variable : OurVariables()) {
    const absl::string_view capitals = absl::StripPrefix(variable.name, kEnvironmentPrefix);
    const std::string name = absl::AsciiStrToLower(capitals);
    absl::CommandLineFlag* const flag = Find(flags, name);
    if (flag != nullptr && absl::AsciiStrToUpper(name) == capitals) {
      absl::Status set = SetFlag(*flag, variable.name, variable.value);
      if (!set.ok()) faults.push_back({name, std::move(set)});
    } else if (!LooksLikeKubernetes(variable.name) && !IsFlagOfOurs(name)) {
      warnings.push_back(
          absl::StrCat("the environment variable ", variable.name, " names no flag of this program"));
    }
  }
  return faults;
}

// One flag argument, taken apart.
struct Argument {
  std::string shown;                 // "--max-memory"
  std::string name;                  // "max_memory"
  std::optional<std::string> value;  // what follows '='
};

Argument TakeApart(absl::string_view text) {
  Argument argument;
  const size_t equals = text.find('=');
  argument.shown = std::string(text.substr(0, equals));
  if (equals != absl::string_view::npos) argument.value = std::string(text.substr(equals + 1));
  const absl::string_view bare = absl::StripPrefix(absl::StripPrefix(argument.shown, "-"), "-");
  argument.name = absl::StrReplaceAll(bare, {{"-", "_"}});
  return argument;
}

// The arguments, from the first to the last.
class ArgumentReader {
 public:
  ArgumentReader(const Flags& flags, int argc, char** argv, CommandLine& result)
      : flags_(flags), result_(result) {
    for (int i = 1; i < argc; ++i) arguments_.emplace_back(argv[i]);
  }

  absl::Status Read() {
    while (next_ < arguments_.size()) {
      const std::string& text = arguments_[next_++];
      if (text == "--") {
        result_.positional.insert(result_.positional.end(),
                                  arguments_.begin() + static_cast<ptrdiff_t>(next_), arguments_.end());
        return absl::OkStatus();
      }
      if (text.size() < 2 || text[0] != '-') {
        result_.positional.push_back(text);
        continue;
      }
      const absl::Status status = ReadFlag(TakeApart(text));
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  // Has an argument set the flag of this name?
  bool Gave(const std::string& name) const { return given_.count(name) > 0; }

 private:
  absl::Status ReadFlag(const Argument& argument) {
    if (absl::CommandLineFlag* const flag = Find(flags_, argument.name)) {
      given_.insert(argument.name);
      return ReadValue(*flag, argument);
    }
    if (argument.name == "help" || argument.name == "version") {
      if (argument.value) return absl::InvalidArgumentError(absl::StrCat(argument.shown, " takes no value"));
      (argument.name == "help" ? result_.help : result_.version) = true;
      return absl::OkStatus();
    }
    if (absl::StartsWith(argument.name, "no")) {
      absl::CommandLineFlag* const flag = Find(flags_, argument.name.substr(2));
      if (flag != nullptr && flag->IsOfType<bool>()) {
        if (argument.value)
          return absl::InvalidArgumentError(absl::StrCat(argument.shown, " takes no value"));
        given_.insert(argument.name.substr(2));
        return SetFlag(*flag, argument.shown, "false");
      }
    }
    return absl::InvalidArgumentError(absl::StrCat("unknown flag ", argument.shown));
  }

  absl::Status ReadValue(absl::CommandLineFlag& flag, const Argument& argument) {
    if (argument.value) return SetFlag(flag, argument.shown, *argument.value);
    if (flag.IsOfType<bool>()) return SetFlag(flag, argument.shown, "true");
    if (next_ == arguments_.size()) {
      return absl::InvalidArgumentError(absl::StrCat(argument.shown, " needs a value"));
    }
    return SetFlag(flag, argument.shown, arguments_[next_++]);
  }

  const Flags& flags_;
  CommandLine& result_;
  std::vector<std::string> arguments_;
  size_t next_ = 0;
  std::set<std::string> given_;
};

}  // namespace

std::map<std::string, absl::CommandLineFlag*> ProgramFlags() {
  Flags flags;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    const bool of_abseil = absl::StrContains(flag->Filename(), "absl/");
    if (!of_abseil && !flag->IsRetired()) flags.emplace(name, flag);
  }
  return flags;
}

bool AbslParseFlag(absl::string_view text, ByteSize* size, std::string* error) {
  *error = "sizes are digits with KiB, MiB, GiB or nothing (bytes) behind";
  int64_t unit = 1;
  for (const Unit& candidate : kUnits) {
    if (absl::ConsumeSuffix(&text, candidate.name)) {
      unit = candidate.bytes;
      break;
    }
  }
  int64_t count = 0;
  // SimpleAtoi alone would take a sign and blanks.
  if (!std::all_of(text.begin(), text.end(), absl::ascii_isdigit)) return false;
  if (!absl::SimpleAtoi(text, &count) || count > std::numeric_limits<int64_t>::max() / unit) return false;
  size->bytes = count * unit;
  return true;
}

std::string AbslUnparseFlag(ByteSize size) {
  for (const Unit& unit : kUnits) {
    if (size.bytes != 0 && size.bytes % unit.bytes == 0)
      return absl::StrCat(size.bytes / unit.bytes, unit.name);
  }
  return absl::StrCat(size.bytes);
}

absl::StatusOr<CommandLine> ParseCommandLine(int argc, char** argv) {
  const Flags flags = ProgramFlags();
  CommandLine result;
  // The environment goes first, so that the arguments win; but who asks for help gets it whatever is there.
  const std::vector<EnvironmentFault> faults = ApplyEnvironment(flags, result.warnings);
  ArgumentReader arguments(flags, argc, argv, result);
  if (absl::Status status = arguments.Read(); !status.ok()) return status;
  if (result.help || result.version) return result;
  for (const EnvironmentFault& fault : faults) {
    if (!arguments.Gave(fault.flag)) return fault.status;
  }
  return result;
}

}  // namespace kldiv::base
