#ifndef KLDIV_SERVER_LANES_CPU_COUNT_H_
#define KLDIV_SERVER_LANES_CPU_COUNT_H_

#include <string>
#include <string_view>

namespace kldiv::server {

// How many CPU lanes this process can keep busy: the CPUs it may run on, or what its control group's time
// quota (v2 or v1, the tightest on the way to the root) amounts to, rounded up, when that is less. At
// least 1.
int AvailableCpus();

// Parts of it, for tests. Quotas are in CPUs; 0 means that there is none, or that the text is not understood.
namespace cpu_count {

// Of cgroup v2's cpu.max: "150000 100000\n" is 1.5, "max 100000\n" none.
double QuotaFromCpuMax(std::string_view text);

// Of cgroup v1's cpu.cfs_quota_us ("-1" is none) and cpu.cfs_period_us.
double QuotaFromCfs(std::string_view quota_us, std::string_view period_us);

// Where the process stands in a hierarchy, by /proc/self/cgroup: the path in v2's, or in v1's with the cpu
// controller. Empty when it is in none.
std::string V2Path(std::string_view proc_self_cgroup);
std::string V1CpuPath(std::string_view proc_self_cgroup);

// The tightest quota under `root` (normally "/sys/fs/cgroup") for a process with this /proc/self/cgroup. A
// group that cannot be seen from inside a container is passed over.
double QuotaUnder(const std::string& root, std::string_view proc_self_cgroup);

// The answer for `cpus` CPUs, at least 1, and a quota.
int Combine(int cpus, double quota);

}  // namespace cpu_count
}  // namespace kldiv::server

#endif  // KLDIV_SERVER_LANES_CPU_COUNT_H_
