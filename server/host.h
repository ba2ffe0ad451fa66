#ifndef KLDIV_SERVER_HOST_H_
#define KLDIV_SERVER_HOST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/cuda/cuda_devices.h"

namespace kldiv::server {

// What the defaults of the options depend on.
struct Host {
  int64_t memory_bytes = 0;        // of the machine
  int64_t memory_limit_bytes = 0;  // of this process's control group; 0: none
  int cpus = 1;                    // that this process may use at a time, at least 1
  int max_descriptors = 0;         // open files at a time
  // Looks for CUDA devices, see cuda::FindDevices; null: this build has no CUDA.
  absl::StatusOr<cuda::FoundDevices> (*find_cuda_devices)(const std::optional<std::vector<int>>&) = nullptr;
};

// The machine and the process as they are, after raising the limit of open files to its hard limit.
Host ThisHost();

// The tightest memory limit, in bytes, on the way from the process's control group to the hierarchy's root;
// 0: none. Version 2 (memory.max) and version 1 (memory.limit_in_bytes). `cgroup_root` is normally
// "/sys/fs/cgroup", `proc_self_cgroup` the text of /proc/self/cgroup. A group that cannot be seen from inside
// a container is passed over; the container's own limit is at the root then.
int64_t MemoryLimitUnder(const std::string& cgroup_root, std::string_view proc_self_cgroup);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_HOST_H_
