#include "server/lanes/cpu_count.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace kldiv::server {
namespace cpu_count {
namespace {

// Empty when the file cannot be read.
std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

double Quota(int64_t quota_us, int64_t period_us) {
  if (quota_us <= 0 || period_us <= 0) return 0;
  return static_cast<double>(quota_us) / static_cast<double>(period_us);
}

// 0 is none.
double Tighter(double a, double b) {
  if (a == 0 || b == 0) return std::max(a, b);
  return std::min(a, b);
}

// The tightest of the quotas that `quota_of(folder)` finds at `path` and on the way up to `root`.
template <typename QuotaOf>
double TightestUpwards(const std::string& root, std::string path, const QuotaOf& quota_of) {
  double tightest = 0;
  for (;;) {
    tightest = Tighter(tightest, quota_of(root + path));
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return tightest;
    path.resize(slash);
  }
}

// Lines of /proc/self/cgroup: "ID:CONTROLLERS:PATH". The path of the first whose controllers satisfy
// `matches`.
template <typename Matches>
std::string PathWhere(absl::string_view text, const Matches& matches) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() == 3 && matches(fields[0], fields[1])) return std::string(fields[2]);
  }
  return "";
}

int AffinityCpus() {
  // A machine may have more CPUs than cpu_set_t has room for: the kernel then asks for a larger set.
  for (int cpus = CPU_SETSIZE; cpus <= (1 << 16); cpus *= 2) {
    cpu_set_t* const set = CPU_ALLOC(cpus);
    const size_t size = CPU_ALLOC_SIZE(cpus);
    const int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

double QuotaFromCpuMax(std::string_view text) {
  const std::vector<absl::string_view> fields =
      absl::StrSplit(absl::string_view(text.data(), text.size()), absl::ByAnyChar(" \n"), absl::SkipEmpty());
  int64_t quota_us = 0;
  int64_t period_us = 0;
  if (fields.size() != 2 || !absl::SimpleAtoi(fields[0], &quota_us) ||
      !absl::SimpleAtoi(fields[1], &period_us)) {
    return 0;
  }
  return Quota(quota_us, period_us);
}

double QuotaFromCfs(std::string_view quota_us, std::string_view period_us) {
  int64_t quota = 0;
  int64_t period = 0;
  if (!absl::SimpleAtoi(absl::string_view(quota_us.data(), quota_us.size()), &quota) ||
      !absl::SimpleAtoi(absl::string_view(period_us.data(), period_us.size()), &period)) {
    return 0;
  }
  return Quota(quota, period);
}

std::string V2Path(std::string_view proc_self_cgroup) {
  return PathWhere(
      {proc_self_cgroup.data(), proc_self_cgroup.size()},
      [](absl::string_view id, absl::string_view controllers) { return id == "0" && controllers.empty(); });
}

std::string V1CpuPath(std::string_view proc_self_cgroup) {
  return PathWhere({proc_self_cgroup.data(), proc_self_cgroup.size()},
                   [](absl::string_view, absl::string_view controllers) {
                     const std::vector<absl::string_view> names = absl::StrSplit(controllers, ',');
                     return std::find(names.begin(), names.end(), "cpu") != names.end();
                   });
}

double QuotaUnder(const std::string& root, std::string_view proc_self_cgroup) {
  const double v2 = TightestUpwards(root, V2Path(proc_self_cgroup), [](const std::string& folder) {
    return QuotaFromCpuMax(ReadFile(folder + "/cpu.max"));
  });
  double v1 = 0;
  for (const char* mount : {"/cpu", "/cpu,cpuacct"}) {
    v1 =
        Tighter(v1, TightestUpwards(root + mount, V1CpuPath(proc_self_cgroup), [](const std::string& folder) {
                  return QuotaFromCfs(ReadFile(folder + "/cpu.cfs_quota_us"),
                                      ReadFile(folder + "/cpu.cfs_period_us"));
                }));
  }
  return Tighter(v2, v1);
}

int Combine(int cpus, double quota) {
  if (quota > 0) cpus = std::min(cpus, static_cast<int>(std::ceil(std::min(quota, 1e6))));
  return std::max(cpus, 1);
}

}  // namespace cpu_count

int AvailableCpus() {
  return cpu_count::Combine(
      cpu_count::AffinityCpus(),
      cpu_count::QuotaUnder("/sys/fs/cgroup", cpu_count::ReadFile("/proc/self/cgroup")));
}

}  // namespace kldiv::server
