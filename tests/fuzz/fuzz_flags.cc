// Any command line, an argument a line, is either refused in one line that names what is wrong, or gives
// options within their bounds.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "absl/flags/reflection.h"
#include "server/base/command_line.h"
#include "server/options.h"

namespace {

using kldiv::server::Host;
using kldiv::server::ServerOptions;

void Require(bool condition) {
  if (!condition) abort();
}

void RequireOneLine(const absl::Status& status) {
  const absl::string_view message = status.message();
  Require(!message.empty() && message.find('\n') == absl::string_view::npos);
}

void RequireBounds(const ServerOptions& options) {
  Require(!options.listen.empty());
  Require(options.cpu_threads >= 1 && options.polling_threads >= 1 && options.cuda_lanes >= 1);
  Require(options.max_message_bytes >= 1 && options.max_message_bytes <= std::numeric_limits<int32_t>::max());
  Require(options.max_queue_bytes >= 1 && options.max_batch_bytes >= 1 && options.max_memory >= 1);
  Require(options.max_connections >= 1 && options.read_grants >= 1);
  Require(options.max_pairs_per_message >= 1 && options.max_in_flight_per_stream >= 1);
  Require(options.read_timeout.count() > 0 && options.write_timeout.count() > 0);
  Require(options.max_connection_age.count() >= 0 && options.drain_delay.count() >= 0 &&
          options.drain_timeout.count() >= 0);
}

// What they name would be read: any file of the machine.
void ForgetFiles() {
  for (const char* const name : {"tls_cert", "tls_key", "tls_client_ca", "token_file"}) {
    std::string error;
    Require(absl::FindCommandLineFlag(name)->ParseFrom("", &error));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::FlagSaver saver;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> arguments = {"kldiv-server"};
  while (!text.empty()) {
    arguments.emplace_back(text.substr(0, text.find('\n')));
    text.remove_prefix(std::min(text.size(), arguments.back().size() + 1));
  }
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());

  const auto parsed = kldiv::base::ParseCommandLine(static_cast<int>(argv.size()), argv.data());
  if (!parsed.ok()) {
    Require(absl::IsInvalidArgument(parsed.status()));
    RequireOneLine(parsed.status());
    return 0;
  }
  ForgetFiles();
  constexpr Host kHost{
      .memory_bytes = int64_t{8} << 30, .memory_limit_bytes = 0, .cpus = 4, .max_descriptors = 1024};
  const absl::StatusOr<ServerOptions> options = kldiv::server::OptionsFromFlags(kHost);
  if (options.ok()) {
    RequireBounds(*options);
  } else {
    Require(absl::IsInvalidArgument(options.status()) || absl::IsFailedPrecondition(options.status()));
    RequireOneLine(options.status());
  }
  return 0;
}
