#ifndef KLDIV_CLIENT_LOAD_REPORT_H_
#define KLDIV_CLIENT_LOAD_REPORT_H_

#include <optional>
#include <string>
#include <vector>

#include "client/include/kldiv/client.h"
#include "client/load/run.h"
#include "client/load/search.h"
#include "client/load/settings.h"

// What `kldiv-load` tells about its runs.
namespace kldiv::load {

struct SearchStep {
  double value = 0;
  bool held = false;
  std::vector<WindowVerdict> windows;
};

struct SearchReport {
  std::optional<double> best;
  std::vector<SearchStep> steps;  // one for each run
  std::string rule;
};

struct Report {
  std::string started;  // RFC 3339, UTC
  std::vector<std::string> command;
  Settings settings;
  std::optional<ServerInfo> server;  // none: it could not be asked
  std::vector<RunResult> runs;       // at least one
  std::optional<SearchReport> search;

  // The run that the top-level figures are of: a search's best, else the last.
  const RunResult& deciding() const;
};

// Whether `run`, one of the report's, met the SLO: by its latency, or in a search by the rule. True where
// there is no SLO.
bool MeetsSlo(const Report& report, const RunResult& run);

// Why the program has to end with 1, a sentence each; empty: it does not. Errors and SLOs count of every run,
// but of a search's only where it ended; wrong answers always.
std::vector<std::string> Failures(const Report& report);

// For people, in lines.
std::string ToTable(const Report& report);

// For programs and the page: one document.
std::string ToJson(const Report& report);

// "1.23 ms": three digits and a unit.
std::string FormatTime(double ns);

// A progress line: what happened in a second.
std::string ToProgress(const std::string& label, const Window& window, Duration length);

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_REPORT_H_
