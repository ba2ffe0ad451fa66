#include "client/load/report.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/tool/choices.h"

namespace kldiv::load {
namespace {

std::string Thousands(double value) {
  if (value < 100) return absl::StrFormat("%.3g", value);
  const std::string digits = absl::StrFormat("%.0f", value);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string FormatBytes(double bytes) {
  if (bytes >= 1e9) return absl::StrFormat("%.2f GB", bytes / 1e9);
  return absl::StrFormat("%.1f MB", bytes / 1e6);
}

std::string ServerLine(const Report& report) {
  std::string line = absl::StrCat("server    ", report.settings.client.server);
  if (!report.server.has_value()) return absl::StrCat(line, "  (it tells nothing about itself)\n");
  absl::StrAppend(&line, "  kldiv ", report.server->version, ", ", report.server->backend, " (",
                  absl::StrJoin(report.server->devices, "; "), ")\n");
  return line;
}

std::string WorkloadLine(const Settings& settings) {
  const WorkloadOptions& workload = settings.workload;
  const auto shape = [&](std::string* out, const ShapeWeight& entry) {
    absl::StrAppend(out, absl::StrJoin(entry.shape, "x"));
    if (workload.shapes.size() > 1) absl::StrAppend(out, ":", entry.weight);
  };
  std::string line = absl::StrCat("workload  ", Name(settings.mode));
  if (settings.mode == Mode::kBatch) absl::StrAppend(&line, " of ", settings.batch_pairs);
  absl::StrAppend(
      &line, ", ", absl::StrJoin(workload.shapes, ",", shape), " ", Name(workload.dtype), ", ",
      tool::NameIn(tool::kReductions, workload.reduction), workload.log_target ? ", log_target" : "", "; ",
      settings.connections, settings.connections == 1 ? " connection" : " connections", "; ",
      workload.verify ? "every answer is compared with the right one" : "answers are not verified", "\n");
  return line;
}

struct Column {
  const char* title;
  std::vector<std::string> cells;
};

std::string Align(const std::vector<Column>& columns) {
  std::string table;
  std::vector<size_t> widths;
  for (const Column& column : columns) {
    size_t width = std::string(column.title).size();
    for (const std::string& cell : column.cells) width = std::max(width, cell.size());
    widths.push_back(width);
  }
  const auto line = [&](const auto& text_of) {
    std::string row;
    for (size_t i = 0; i < columns.size(); ++i) {
      const std::string text = text_of(columns[i]);
      const std::string padding(widths[i] - text.size(), ' ');
      absl::StrAppend(&row, i == 0 ? "" : "  ", i == 0 ? text + padding : padding + text);
    }
    absl::StrAppend(&table, row, "\n");
  };
  line([](const Column& column) { return std::string(column.title); });
  for (size_t i = 0; i < columns[0].cells.size(); ++i)
    line([i](const Column& column) { return column.cells[i]; });
  return table;
}

std::string RunsTable(const Report& report) {
  std::vector<Column> columns = {{"run", {}},    {"offered/s", {}}, {"calls/s", {}}, {"pairs/s", {}},
                                 {"data/s", {}}, {"p50", {}},       {"p90", {}},     {"p99", {}},
                                 {"p99.9", {}},  {"p99.99", {}},    {"p99.999", {}}, {"max", {}},
                                 {"errors", {}}, {"wrong", {}}};
  for (const RunResult& run : report.runs) {
    const Histogram& latency = run.totals.latency;
    const auto time = [&](double quantile) {
      return latency.count() == 0 ? "-" : FormatTime(static_cast<double>(latency.Percentile(quantile)));
    };
    const std::string cells[] = {run.plan.label,
                                 run.plan.concurrency.has_value() ? "-" : Thousands(run.offered_rate()),
                                 Thousands(run.achieved_rate()),
                                 Thousands(run.Rate(run.totals.answered_pairs)),
                                 FormatBytes(run.Rate(static_cast<uint64_t>(run.totals.answered_bytes))),
                                 time(0.5),
                                 time(0.9),
                                 time(0.99),
                                 time(0.999),
                                 time(0.9999),
                                 time(0.99999),
                                 time(1),
                                 absl::StrCat(run.totals.failed()),
                                 absl::StrCat(run.totals.wrong)};
    for (size_t i = 0; i < columns.size(); ++i) columns[i].cells.push_back(cells[i]);
  }
  return Align(columns);
}

std::string ServerSplit(const Totals& totals) {
  const auto time = [](const Histogram& histogram, double quantile) {
    return FormatTime(static_cast<double>(histogram.Percentile(quantile)));
  };
  return absl::StrCat("of it, on the server: queue p50 ", time(totals.queue, 0.5), ", p99 ",
                      time(totals.queue, 0.99), "; computing p50 ", time(totals.compute, 0.5), ", p99 ",
                      time(totals.compute, 0.99));
}

// How many and the first; "" when there is none.
std::string WrongAnswers(const Totals& totals) {
  if (totals.wrong + totals.wrong_before == 0) return "";
  std::string text = absl::StrCat("WRONG ANSWERS: ", totals.wrong + totals.wrong_before);
  if (totals.wrong_before > 0) absl::StrAppend(&text, " (", totals.wrong_before, " in the warm-up)");
  return absl::StrCat(text, ", the first: ", totals.wrong_text);
}

// What else there is to say about a run.
std::string RunNotes(const Report& report, const RunResult& run) {
  std::string notes;
  const std::string prefix = report.runs.size() == 1 ? "" : absl::StrCat(run.plan.label, ": ");
  const auto note = [&](const std::string& text) { absl::StrAppend(&notes, prefix, text, "\n"); };
  if (run.totals.queue.count() > 0) note(ServerSplit(run.totals));
  if (!run.plan.concurrency.has_value()) {
    note(absl::StrFormat("late starts: %d of %d calls, the latest %s", run.totals.late_starts, run.totals.due,
                         FormatTime(static_cast<double>(run.totals.start_delay.max()))));
  }
  for (const auto& [code, text] : run.totals.error_texts) {
    note(absl::StrCat(absl::StatusCodeToString(code), ": ", run.totals.errors.at(code),
                      " calls, the first: ", text));
  }
  if (const std::string wrong = WrongAnswers(run.totals); !wrong.empty()) note(wrong);
  if (report.settings.slo.has_value()) {
    note(absl::StrCat("SLO ", report.settings.slo->text(), ": ", MeetsSlo(report, run) ? "met" : "missed"));
  }
  for (const std::string& reason : run.saturation) {
    note(absl::StrCat("warning: the load tester itself was at its limit: ", reason));
  }
  return notes;
}

std::string SearchText(const Report& report) {
  const SearchReport& search = *report.search;
  std::string text = absl::StrCat("\nrule: ", search.rule, "\n");
  const char* variable = report.settings.open_loop() ? "rate" : "concurrency";
  for (const SearchStep& step : search.steps) {
    absl::StrAppend(&text, variable, " ", Thousands(step.value), step.held ? " holds:" : " does not hold:");
    for (const WindowVerdict& window : step.windows) absl::StrAppend(&text, window.good ? " good" : " bad");
    absl::StrAppend(&text, "\n");
  }
  if (search.best.has_value()) {
    absl::StrAppend(&text, "best: ", variable, " ", Thousands(*search.best), "\n");
  } else {
    absl::StrAppend(&text, "best: none, no ", variable, " that was tried holds\n");
  }
  return text;
}

}  // namespace

const RunResult& Report::deciding() const {
  if (search.has_value()) {
    for (size_t i = 0; i < runs.size(); ++i) {
      if (search->steps[i].held && search->steps[i].value == search->best) return runs[i];
    }
  }
  return runs.back();
}

bool MeetsSlo(const Report& report, const RunResult& run) {
  if (report.search.has_value())
    return report.search->steps[static_cast<size_t>(&run - report.runs.data())].held;
  return !report.settings.slo.has_value() || report.settings.slo->MetBy(run.totals.latency);
}

std::vector<std::string> Failures(const Report& report) {
  std::vector<std::string> failures;
  for (const RunResult& run : report.runs) {
    const auto fail = [&](const std::string& text) {
      failures.push_back(absl::StrCat(run.plan.label, ": ", text));
    };
    if (const std::string wrong = WrongAnswers(run.totals); !wrong.empty()) fail(wrong);
    if (report.search.has_value()) continue;
    const auto failed = static_cast<double>(run.totals.failed());
    if (run.totals.calls == 0) {
      fail("no call was measured");
    } else if (failed > report.settings.max_error_rate * static_cast<double>(run.totals.calls)) {
      fail(absl::StrFormat("%.6g %% of the calls failed, --max_error_rate allows %.6g %%",
                           100 * failed / static_cast<double>(run.totals.calls),
                           100 * report.settings.max_error_rate));
    }
    if (!MeetsSlo(report, run)) fail(absl::StrCat("--slo=", report.settings.slo->text(), " was missed"));
  }
  if (report.search.has_value() && !report.search->best.has_value()) {
    failures.push_back(
        absl::StrCat("--slo=", report.settings.slo->text(), " was missed by every load that was tried"));
  }
  return failures;
}

std::string ToTable(const Report& report) {
  std::string text = absl::StrCat(ServerLine(report), WorkloadLine(report.settings), "\n", RunsTable(report));
  for (const RunResult& run : report.runs) {
    if (!report.search.has_value()) absl::StrAppend(&text, RunNotes(report, run));
  }
  if (report.search.has_value()) {
    absl::StrAppend(&text, SearchText(report));
    if (report.search->best.has_value()) absl::StrAppend(&text, RunNotes(report, report.deciding()));
  }
  return text;
}

std::string FormatTime(double ns) {
  constexpr std::pair<double, const char*> kUnits[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}};
  for (const auto& [size, unit] : kUnits) {
    if (ns < size) continue;
    const double value = ns / size;
    return absl::StrFormat("%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, unit);
  }
  return absl::StrFormat("%.0f ns", ns);
}

std::string ToProgress(const std::string& label, const Window& window, Duration length) {
  const auto time = [&](double quantile) {
    return window.latency.count() == 0 ? "-"
                                       : FormatTime(static_cast<double>(window.latency.Percentile(quantile)));
  };
  const std::string when =
      window.index < 0
          ? "warming up"
          : absl::StrFormat("%d s", static_cast<int64_t>(ToSeconds(length)) * (window.index + 1));
  return absl::StrFormat("%s, %s: %s answers/s, p50 %s, p99 %s, errors %d%s", label, when,
                         Thousands(static_cast<double>(window.ok) / ToSeconds(length)), time(0.5), time(0.99),
                         window.errors, window.wrong > 0 ? absl::StrCat(", WRONG ", window.wrong) : "");
}

}  // namespace kldiv::load
