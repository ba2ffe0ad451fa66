// The program kldiv-server: flags, start, the ready line, signals, drain.

#include <fcntl.h>
#include <grpc/support/log.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/command_line.h"
#include "server/base/version.h"
#include "server/build_info.h"
#include "server/flags.h"
#include "server/host.h"
#include "server/memory.h"
#include "server/observability/log.h"
#include "server/options.h"
#include "server/server.h"
#include "server/service_manager.h"

namespace kldiv::server {
namespace {

enum ExitCode { kClean = 0, kCouldNotStart = 1, kUsage = 2, kDrainFailed = 3, kDeviceLost = 4 };

constexpr char kUsageText[] =
    "usage: kldiv-server [--flag=value ...]\n"
    "\n"
    "Serves kldiv.v1.KlDivergence over gRPC: Kullback-Leibler divergences as torch.nn.KLDivLoss defines "
    "them.\n"
    "Prints one line on stdout when it is ready; SIGTERM and SIGINT drain it.\n"
    "\n"
    "Exit codes: 0 after a clean drain, 1 could not start, 2 bad usage, 3 the drain timed out or was cut "
    "short by a\n"
    "second signal, 4 every device that it served with was lost.\n";

constexpr std::chrono::milliseconds kDrainPoll{10};

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "kldiv-server: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? kUsage : kCouldNotStart;
}

void LogForGrpc(gpr_log_func_args* event) {
  // A handshake that fails is a client's doing, whatever gRPC thinks.
  const bool grave =
      event->severity == GPR_LOG_SEVERITY_ERROR && strstr(event->message, "andshake") == nullptr;
  const LogLevel level = grave ? LogLevel::kError : LogLevel::kInfo;
  LogFromLibrary("grpc", level, event->message);
}

// Every lane was lost with its device. Set by whoever then sends kOwnSignal to this process.
std::atomic<bool> no_lane_left = false;
constexpr int kOwnSignal = SIGUSR1;

void OnNoLaneLeft() {
  no_lane_left.store(true);
  kill(getpid(), kOwnSignal);
}

// Signals that end the server. Threads inherit the mask: block them before the first thread starts, so that
// only Wait receives them.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&users_);
    sigaddset(&users_, SIGTERM);
    sigaddset(&users_, SIGINT);
    all_ = users_;
    sigaddset(&all_, kOwnSignal);
    pthread_sigmask(SIG_BLOCK, &all_, nullptr);
  }

  // The first one: a user's, or kOwnSignal when no device is left.
  int Wait() const {
    for (;;) {
      const int signal = WaitFor(all_);
      if (signal != kOwnSignal || no_lane_left.load()) return signal;
    }
  }

  // From now on the second signal of a user ends the process at once, whatever the drain is waiting for. The
  // first one after `first`, kOwnSignal, asks for what is under way: who sees the server not serving may stop
  // it.
  void ExitOnTheSecond(int first) const {
    std::thread([signals = *this, first] {
      if (first == kOwnSignal) {
        Log(LogLevel::kInfo, "draining already", {{"reason", strsignal(WaitFor(signals.users_))}});
      }
      WaitFor(signals.users_);
      Log(LogLevel::kWarning, "a second signal: stopping without waiting for accepted work");
      _exit(kDrainFailed);
    }).detach();
  }

 private:
  static int WaitFor(const sigset_t& set) {
    int signal = 0;
    while (sigwait(&set, &signal) != 0) {
    }
    return signal;
  }

  sigset_t users_{};  // what a user sends
  sigset_t all_{};
};

void PrintReadyLine(const Server& server) {
  std::printf("listening on %s metrics=%s backend=%s\n", absl::StrJoin(server.addresses(), ",").c_str(),
              server.metrics_address().c_str(), server.backend().c_str());
  std::fflush(stdout);
}

void Tell(ServiceState state) {
  const absl::Status told = TellServiceManager(state);
  if (told.ok()) return;
  Log(LogLevel::kWarning, "the service manager was not told", {{"error", std::string(told.message())}});
}

// Serves until a signal, then drains.
int Serve(std::unique_ptr<Server> server, const ServerOptions& options, const StopSignals& signals) {
  PrintReadyLine(*server);
  Tell(ServiceState::kReady);
  const int signal = signals.Wait();
  const bool lost = signal == kOwnSignal;
  Log(lost ? LogLevel::kError : LogLevel::kInfo, "draining",
      {{"reason", lost ? "no device is left" : strsignal(signal)}});
  signals.ExitOnTheSecond(signal);
  Tell(ServiceState::kStopping);

  server->AnnounceDrain();
  if (!no_lane_left.load()) std::this_thread::sleep_for(options.drain_delay);
  server->BeginDrain();
  const auto deadline = std::chrono::steady_clock::now() + options.drain_timeout;
  while (!server->Drained() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(kDrainPoll);
  if (!server->Stop()) {
    Log(LogLevel::kError, "calls that were accepted were not answered within --drain_timeout",
        {{"timeout_ms", options.drain_timeout.count()}});
    _exit(kDrainFailed);  // Something still hangs: what it uses must not be destroyed.
  }
  return no_lane_left.load() ? kDeviceLost : kClean;
}

// Somebody may have started this program with some of them closed: what is opened first, a client's
// connection say, would then be stderr.
void OpenStandardDescriptors() {
  int fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO) fd = dup(fd);
  if (fd > STDERR_FILENO) close(fd);
}

int Run(int argc, char** argv) {
  OpenStandardDescriptors();
  TuneMalloc();
  const StopSignals signals;
  const absl::StatusOr<base::CommandLine> command_line = base::ParseCommandLine(argc, argv);
  if (!command_line.ok()) return Fail(command_line.status());
  if (command_line->help || command_line->version) {
    const std::string version = absl::StrCat("kldiv-server ", base::kVersion, "\n", kBuildInfo, "\n");
    std::fputs(command_line->help ? base::HelpText(kUsageText, ServerFlagGroups()).c_str() : version.c_str(),
               stdout);
    return kClean;
  }
  if (!command_line->positional.empty()) {
    return Fail(
        absl::InvalidArgumentError(absl::StrCat("unexpected argument ", command_line->positional[0])));
  }
  absl::StatusOr<ServerOptions> options = OptionsFromFlags(ThisHost());
  if (!options.ok()) return Fail(options.status());
  options->on_no_lane_left = OnNoLaneLeft;

  SetLogFormat(options->log_format);
  gpr_set_log_function(LogForGrpc);
  for (const std::string& warning : command_line->warnings) Log(LogLevel::kWarning, warning);
  for (const std::string& warning : options->warnings) Log(LogLevel::kWarning, warning);

  if (options->check_config) {
    std::puts("the configuration is valid");
    return kClean;
  }
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(*options);
  // Whatever went wrong, the usage was right.
  if (!server.ok()) return Fail(absl::FailedPreconditionError(server.status().message()));
  return Serve(*std::move(server), *options, signals);
}

}  // namespace
}  // namespace kldiv::server

int main(int argc, char** argv) { return kldiv::server::Run(argc, argv); }
