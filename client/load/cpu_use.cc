#include "client/load/cpu_use.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

namespace kldiv::load {
namespace {

// utime and stime of /proc/PID/task/TID/stat, whose second field may hold anything within parentheses.
double ThreadSeconds(const std::filesystem::path& stat) {
  std::ifstream file(stat);
  std::string line;
  std::getline(file, line);
  std::istringstream fields(line.substr(std::min(line.size(), line.rfind(')') + 1)));
  constexpr int kFieldsBefore = 11;  // from the state, the third field, to utime, the fourteenth
  std::string skipped;
  for (int i = 0; i < kFieldsBefore; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

CpuTimes ReadCpuTimes() {
  CpuTimes times;
  times.at = std::chrono::steady_clock::now();
  timespec used = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  times.process_seconds = static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task", error)) {
    times.thread_seconds[std::atoi(entry.path().filename().c_str())] = ThreadSeconds(entry.path() / "stat");
  }
  return times;
}

CpuUse UseBetween(const CpuTimes& before, const CpuTimes& after) {
  const double seconds = ToSeconds(after.at - before.at);
  if (seconds <= 0) return {};
  CpuUse use;
  use.process = (after.process_seconds - before.process_seconds) / seconds;
  for (const auto& [thread, total] : after.thread_seconds) {
    const auto earlier = before.thread_seconds.find(thread);
    const double used = total - (earlier == before.thread_seconds.end() ? 0 : earlier->second);
    use.busiest_thread = std::max(use.busiest_thread, used / seconds);
  }
  return use;
}

}  // namespace kldiv::load
