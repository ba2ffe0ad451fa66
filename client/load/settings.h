#ifndef KLDIV_CLIENT_LOAD_SETTINGS_H_
#define KLDIV_CLIENT_LOAD_SETTINGS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/include/kldiv/client.h"
#include "client/load/client_target.h"
#include "client/load/schedule.h"
#include "client/load/slo.h"
#include "client/load/workload.h"
#include "server/base/command_line.h"

// The flags of `kldiv-load`, validated.
namespace kldiv::load {

struct Settings {
  ClientOptions client;
  WorkloadOptions workload;
  Mode mode = Mode::kUnary;
  int batch_pairs = 1;  // pairs a call
  int connections = 1;
  int threads = 1;

  // One run for each of the one or the other; of a search the only one is where it begins.
  std::vector<int> concurrency;
  std::vector<double> rates;
  Arrivals arrivals = Arrivals::kPoisson;
  bool search = false;

  Duration warmup{0};
  Duration duration{0};
  std::optional<uint64_t> count;
  std::optional<Slo> slo;
  double max_error_rate = 0;
  std::string json;  // a file; empty: not wanted
  std::string html;  // the same
  bool progress = false;

  bool open_loop() const { return concurrency.empty(); }
};

// Reads the registry, after ParseCommandLine. INVALID_ARGUMENT: a one-line reason that names the flag.
absl::StatusOr<Settings> ReadFlags();

// The groups of --help.
std::span<const base::FlagGroup> FlagGroups();

const char* Name(Mode mode);
const char* Name(DType dtype);
const char* Name(Arrivals arrivals);

// "5", "1:10:+3" (1, 4, 7, 10) or "1:128:*2" (1, 2, 4, ... 128): the numbers, positive, 1000 at most.
// INVALID_ARGUMENT: what is wrong.
absl::StatusOr<std::vector<double>> ParseRange(const std::string& text);

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_SETTINGS_H_
