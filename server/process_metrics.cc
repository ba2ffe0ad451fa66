#include "server/process_metrics.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>

#include "server/memory.h"

namespace kldiv::server {
namespace {

using Type = Metric::Type;

// Of /proc/self/stat, in the units of proc(5).
struct Stat {
  int64_t threads = 0;
  int64_t start_ticks = 0;  // after the machine's
  int64_t virtual_bytes = 0;
};

// False: it could not be read.
bool ReadStat(Stat& stat) {
  std::ifstream file("/proc/self/stat");
  std::string line;
  if (!std::getline(file, line)) return false;
  // The name, in parentheses, may hold anything; the third field follows it.
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int field = 3; field < 20; ++field) fields >> skipped;
  int64_t interval = 0;
  fields >> stat.threads >> interval >> stat.start_ticks >> stat.virtual_bytes;
  return !fields.fail();
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// Of the epoch, when the machine started.
double BootTime() {
  std::ifstream file("/proc/stat");
  for (std::string name; file >> name;) {
    double seconds = 0;
    if (name == "btime" && file >> seconds) return seconds;
  }
  return 0;
}

int64_t OpenDescriptors() {
  std::error_code error;
  int64_t count = 0;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end; !error && entry != end;
       entry.increment(error)) {
    ++count;
  }
  return count - 1;  // one was the folder's
}

}  // namespace

std::vector<Metric> ProcessMetrics() {
  std::vector<Metric> metrics;
  const auto add = [&metrics](std::string name, std::string help, Type type, double value) {
    metrics.push_back({std::move(name), std::move(help), type, {}, value, {}, {}});
  };
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    add("process_cpu_seconds_total", "CPU time, of user and system.", Type::kCounter,
        Seconds(usage.ru_utime) + Seconds(usage.ru_stime));
  }
  if (const int64_t resident = ResidentBytes(); resident > 0) {
    add("process_resident_memory_bytes", "Physical memory.", Type::kGauge, static_cast<double>(resident));
  }
  if (Stat stat; ReadStat(stat)) {
    static const double boot_time = BootTime();
    const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    add("process_virtual_memory_bytes", "Address space.", Type::kGauge,
        static_cast<double>(stat.virtual_bytes));
    add("process_threads", "Threads.", Type::kGauge, static_cast<double>(stat.threads));
    add("process_start_time_seconds", "When the process started, in seconds since the epoch.", Type::kGauge,
        boot_time + static_cast<double>(stat.start_ticks) / ticks);
  }
  add("process_open_fds", "Open file descriptors.", Type::kGauge, static_cast<double>(OpenDescriptors()));
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    add("process_max_fds", "The most file descriptors that may be open.", Type::kGauge,
        static_cast<double>(limit.rlim_cur));
  }
  return metrics;
}

}  // namespace kldiv::server
