#include "server/host.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "server/lanes/cpu_count.h"
#include "server/net/listener.h"

namespace kldiv::server {
namespace {

// Version 1 writes "no limit" as about 2^63.
constexpr int64_t kUnlimited = int64_t{1} << 60;

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The limit that a file names; 0: none, or no such file.
int64_t ReadLimit(const std::filesystem::path& path) {
  int64_t limit = 0;
  const bool number = absl::SimpleAtoi(ReadFile(path), &limit);  // "max" is none
  return number && limit > 0 && limit < kUnlimited ? limit : 0;
}

// The tightest limit in `file` of the group `path` and of those above it.
int64_t TightestLimit(const std::filesystem::path& root, absl::string_view path, const char* file) {
  int64_t tightest = 0;
  std::vector<absl::string_view> names = absl::StrSplit(path, '/', absl::SkipEmpty());
  std::erase(names, "..");  // how a group above a container's own root is written: it cannot be seen
  for (;;) {
    std::filesystem::path group = root;
    for (const absl::string_view name : names) group /= std::string(name);
    const int64_t limit = ReadLimit(group / file);
    if (limit != 0 && (tightest == 0 || limit < tightest)) tightest = limit;
    if (names.empty()) return tightest;
    names.pop_back();
  }
}

bool Lists(absl::string_view controllers, absl::string_view wanted) {
  const std::vector<absl::string_view> all = absl::StrSplit(controllers, ',');
  return std::find(all.begin(), all.end(), wanted) != all.end();
}

}  // namespace

int64_t MemoryLimitUnder(const std::string& cgroup_root, std::string_view proc_self_cgroup) {
  const std::filesystem::path root = cgroup_root;
  int64_t tightest = 0;
  const absl::string_view text(proc_self_cgroup.data(), proc_self_cgroup.size());
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    // hierarchy:controllers:path, where version 2 is hierarchy 0 without controllers
    const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    int64_t limit = 0;
    if (parts[0] == "0" && parts[1].empty()) limit = TightestLimit(root, parts[2], "memory.max");
    if (Lists(parts[1], "memory")) limit = TightestLimit(root / "memory", parts[2], "memory.limit_in_bytes");
    if (limit != 0 && (tightest == 0 || limit < tightest)) tightest = limit;
  }
  return tightest;
}

Host ThisHost() {
  Host host;
  host.memory_bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  host.memory_limit_bytes = MemoryLimitUnder("/sys/fs/cgroup", ReadFile("/proc/self/cgroup"));
  host.cpus = AvailableCpus();
  host.max_descriptors = RaiseDescriptorLimit();
  if (cuda::IsBuiltIn()) host.find_cuda_devices = cuda::FindDevices;
  return host;
}

}  // namespace kldiv::server
