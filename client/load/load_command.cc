#include "client/load/load_command.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/load/page.h"
#include "client/load/report.h"
#include "client/load/run.h"
#include "client/load/search.h"
#include "client/tool/connection_flags.h"
#include "server/numerics/formula.h"

namespace kldiv::load {
namespace {

using tool::ExitCode;

constexpr std::chrono::seconds kInfoTimeout{10};
constexpr Duration kSecond = std::chrono::seconds(1);
// What a call may take after its deadline: the time to hear of it, or of a lost connection.
constexpr Duration kPatienceAfterDeadline = std::chrono::seconds(5);

absl::StatusOr<std::vector<std::unique_ptr<Client>>> Connect(const Settings& settings) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < settings.connections; ++i) {
    absl::StatusOr<std::unique_ptr<Client>> client = Client::Create(settings.client);
    if (!client.ok()) return client.status();
    clients.push_back(*std::move(client));
  }
  return clients;
}

// Shows what is going on.
class Progress {
 public:
  explicit Progress(bool wanted) : wanted_(wanted), terminal_(isatty(STDERR_FILENO) != 0) {}
  ~Progress() { EndLine(); }

  void Show(const std::string& line) {
    if (!wanted_) return;
    std::fprintf(stderr, terminal_ ? "\r\033[K%s" : "%s\n", line.c_str());
    std::fflush(stderr);
    shown_ = true;
  }
  // What was shown last stays.
  void EndLine() {
    if (shown_ && terminal_) std::fputc('\n', stderr);
    shown_ = false;
  }

 private:
  const bool wanted_;
  const bool terminal_;
  bool shown_ = false;
};

class LoadTest {
 public:
  LoadTest(Settings settings, std::vector<std::string> command, std::function<int()> interrupts)
      : interrupts_(std::move(interrupts)), progress_(settings.progress) {
    report_.started = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone());
    report_.command = std::move(command);
    report_.settings = std::move(settings);
  }

  // Asks the server and prepares the data. What ends the program, if anything.
  std::optional<ExitCode> Prepare() {
    const Settings& settings = report_.settings;
    for (const auto& [flag, path] : {std::pair("json", settings.json), std::pair("html", settings.html)}) {
      if (path.empty() || std::ofstream(path, std::ios::app)) continue;
      return tool::Refuse(
          absl::InvalidArgumentError(absl::StrCat("--", flag, "=", path, " cannot be written")));
    }
    if (const std::optional<ExitCode> end = AskServer(); end.has_value()) return end;
    absl::StatusOr<std::unique_ptr<Workload>> workload = Workload::Create(settings.workload);
    if (!workload.ok()) return tool::Refuse(workload.status());
    workload_ = *std::move(workload);
    report_.settings.workload = workload_->options();
    return std::nullopt;
  }

  void RunAll() {
    if (report_.settings.search) return Search();
    for (const int concurrency : report_.settings.concurrency) {
      if (GoesOn()) RunOne(PlanOf(concurrency), {});
    }
    for (const double rate : report_.settings.rates) {
      if (GoesOn()) RunOne(PlanOf(rate), {});
    }
  }

  // Prints and writes everything.
  ExitCode Tell() {
    const std::string table = ToTable(report_);
    std::fputs(table.c_str(), stdout);
    bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    if (!written) tool::PrintLine("the table cannot be written to stdout");
    if (!WriteFiles()) written = false;
    std::vector<std::string> failures = Failures(report_);
    if (!broken_.ok()) failures.emplace_back(broken_.message());
    for (const std::string& failure : failures) tool::PrintLine(absl::StrCat("failed: ", failure));
    return failures.empty() && written ? tool::kSuccess : tool::kFailed;
  }

 private:
  std::optional<ExitCode> AskServer() {
    const Settings& settings = report_.settings;
    const absl::StatusOr<std::unique_ptr<Client>> client = tool::Connect(settings.client);
    if (!client.ok()) return tool::Refuse(client.status());
    absl::StatusOr<ServerInfo> info = (*client)->GetServerInfo({.timeout = kInfoTimeout});
    if (!info.ok()) {
      // A server of another kind may be under load, but nothing says which answers are right.
      if (absl::IsUnimplemented(info.status()) && !settings.workload.verify) return std::nullopt;
      return tool::Fail(settings.client.server, info.status());
    }
    if (settings.workload.verify && info->numerics_version != numerics::kNumericsVersion) {
      return tool::Refuse(absl::InvalidArgumentError(
          absl::StrCat("--verify: the server has numerics_version ", info->numerics_version,
                       ", this program computes version ", numerics::kNumericsVersion,
                       "; --verify=false compares nothing")));
    }
    report_.server = *std::move(info);
    return std::nullopt;
  }

  RunPlan BasePlan() const {
    const Settings& settings = report_.settings;
    RunPlan plan;
    plan.arrivals = settings.arrivals;
    plan.warmup = settings.warmup;
    plan.duration = settings.duration;
    plan.count = settings.count;
    plan.patience = settings.client.default_timeout + kPatienceAfterDeadline;
    plan.seed = settings.workload.seed;
    plan.pairs_per_call = settings.batch_pairs;
    plan.threads = settings.threads;
    return plan;
  }

  RunPlan PlanOf(int concurrency) const {
    RunPlan plan = BasePlan();
    plan.label = absl::StrCat("concurrency ", concurrency);
    plan.concurrency = concurrency;
    return plan;
  }

  RunPlan PlanOf(double rate) const {
    RunPlan plan = BasePlan();
    plan.label = absl::StrFormat("rate %.10g", rate);
    plan.rate = rate;
    return plan;
  }

  // The first run is made even when the user has ended it already, so that there is something to tell.
  bool GoesOn() const { return broken_.ok() && (report_.runs.empty() || interrupts_() == 0); }

  // `go_on`: judges each second that is measured; none: the run goes on.
  void RunOne(const RunPlan& plan, const std::function<bool(const Window&)>& go_on) {
    RunObserver observer;
    observer.interrupts = interrupts_;
    observer.on_window = [&](const Window& window) {
      progress_.Show(ToProgress(plan.label, window, kSecond));
      return go_on == nullptr || window.index < 0 || go_on(window);
    };
    absl::StatusOr<std::vector<std::unique_ptr<Client>>> clients = Connect(report_.settings);
    if (!clients.ok()) {
      broken_ = clients.status();
      return;
    }
    const std::unique_ptr<Target> target = MakeTarget(report_.settings.mode, *std::move(clients));
    report_.runs.push_back(Run(plan, *workload_, *target, observer));
    progress_.EndLine();
  }

  // One step of a search. None when the user has ended it.
  std::optional<bool> Holds(double value) {
    const Settings& settings = report_.settings;
    RunPlan plan = settings.open_loop() ? PlanOf(value) : PlanOf(static_cast<int>(value));
    plan.duration = StabilityRule::kMost * kSecond;
    StabilityRule rule(*settings.slo, settings.max_error_rate, settings.open_loop());
    RunOne(plan, [&](const Window& window) { return rule.Judge(window) == StabilityRule::Verdict::kOpen; });
    const bool held = rule.verdict() == StabilityRule::Verdict::kHolds;
    report_.search->steps.push_back({.value = value, .held = held, .windows = rule.windows()});
    progress_.Show(absl::StrCat(plan.label, held ? " holds" : " does not hold"));
    progress_.EndLine();
    if (interrupts_() > 0 || !broken_.ok()) return std::nullopt;
    return held;
  }

  void Search() {
    const Settings& settings = report_.settings;
    report_.search.emplace();
    report_.search->rule = StabilityRule(*settings.slo, settings.max_error_rate, settings.open_loop()).Text();
    SearchLimits limits;
    if (settings.open_loop()) {
      limits = {.start = settings.rates[0], .min = std::min(1.0, settings.rates[0]), .max = 1e7};
    } else {
      limits = {.start = static_cast<double>(settings.concurrency[0]), .min = 1, .max = 65536, .whole = true};
    }
    report_.search->best = HighestThatHolds(limits, [this](double value) { return Holds(value); });
  }

  // Those that are wanted. True: all could be written.
  bool WriteFiles() const {
    const Settings& settings = report_.settings;
    if (settings.json.empty() && settings.html.empty()) return true;
    const std::string json = ToJson(report_);
    const bool json_written = settings.json.empty() || WriteFile(settings.json, json);
    const bool html_written = settings.html.empty() || WriteFile(settings.html, RenderPage(json));
    return json_written && html_written;
  }

  static bool WriteFile(const std::string& path, const std::string& text) {
    std::ofstream file(path, std::ios::trunc);
    file << text << '\n';
    file.close();
    if (!file.fail()) return true;
    tool::PrintLine(absl::StrCat(path, " cannot be written"));
    return false;
  }

  const std::function<int()> interrupts_;
  Progress progress_;
  Report report_;
  absl::Status broken_;  // why no more runs can be made
  std::unique_ptr<Workload> workload_;
};

}  // namespace

ExitCode Load(Settings settings, std::vector<std::string> command, std::function<int()> interrupts) {
  LoadTest test(std::move(settings), std::move(command), std::move(interrupts));
  if (const std::optional<ExitCode> end = test.Prepare(); end.has_value()) return *end;
  test.RunAll();
  return test.Tell();
}

}  // namespace kldiv::load
