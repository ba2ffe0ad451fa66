// What a device is worth: the kernel beside a copy on the device, a lane beside a copy to the device, what a
// batch of one costs, and from which length a CUDA lane overtakes a CPU lane. Prints a table; --json=FILE
// writes the same. Every answer is compared with the scalar reference's before it is timed; a wrong one ends
// the program.
//
// usage: gpu_benchmark [--json=FILE] [--tiny] [--device=N]
//        gpu_benchmark --names
//
// --names: only prints the names of the devices, one a line.
// --tiny: sizes and repetitions of a test. On a device that is emulated the timings mean nothing, and it says
// so. Exit codes: 1 without a device, when a call fails or an answer is wrong; 2 for a wrong command line.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "server/cuda/cuda_devices.h"
#include "server/cuda/cuda_status.h"
#include "server/cuda/staging.h"
#include "server/lanes/cpu_lane.h"
#include "server/numerics/float_control.h"
#include "tests/gpu/measure.h"
#include "tests/gpu/resident_batch.h"
#include "tests/gpu/workload.h"
#include "tests/numerics/dtype_name.h"

namespace kldiv::cuda::testing {
namespace {

using nlohmann::json;
using numerics::DType;
using numerics::DTypeName;
using numerics::Formula;
using server::Lane;

struct Effort {
  int64_t kernel_bytes = int64_t{256} << 20;  // more than any L2 cache holds
  int64_t lane_bytes = int64_t{32} << 20;     // --max_batch_bytes
  int64_t pair_elements = int64_t{1} << 20;
  int64_t short_elements = 1000;
  int64_t short_pairs = 1000;
  int64_t longest = int64_t{1} << 22;  // where lanes are compared
  Repetitions repetitions;
};

Effort TinyEffort() {
  return {.kernel_bytes = 16 << 10,
          .lane_bytes = 32 << 10,
          .pair_elements = 1 << 10,
          .short_elements = 50,
          .short_pairs = 20,
          .longest = 1 << 11,
          .repetitions = {.rounds = 1, .round_seconds = 0}};
}

void RequireRight(const Workload& workload, const std::string& subject) {
  if (!workload.Right()) Require(absl::InternalError(subject + ": wrong answer, not timed"));
}

double Giga(int64_t amount, double seconds) { return static_cast<double>(amount) / seconds * 1e-9; }

// The kernel alone, over memory of the device.
json KernelBandwidth(const Effort& effort) {
  std::printf("\n%-14s %10s %10s %10s %10s\n", "kernel", "Gelem/s", "GB/s", "copy GB/s", "of a copy");
  json rows = json::array();
  const auto measure = [&](const std::string& name, const Formula& formula, bool pointwise) {
    const int64_t pair_bytes =
        effort.pair_elements * (ElementSize(formula.input) + ElementSize(formula.target));
    Workload workload(
        {formula, effort.pair_elements, std::max<int64_t>(1, effort.kernel_bytes / pair_bytes), pointwise});
    const auto batch = Require(ResidentBatch::Make(workload));
    Require(batch->Launch(1));
    Require(batch->FetchResults());
    RequireRight(workload, name);
    const double kernel = SecondsOf(effort.repetitions, [&](int64_t calls) { return batch->Launch(calls); });
    const double copy =
        SecondsOf(effort.repetitions, [&](int64_t calls) { return batch->CopyOnDevice(calls); });
    // Read and written both count.
    const double kernel_rate = Giga(batch->copied_bytes() + workload.answer_bytes(), kernel);
    const double copy_rate = Giga(2 * batch->copied_bytes(), copy);
    const double elements = Giga(workload.elements(), kernel);
    std::printf("%-14s %10.2f %10.1f %10.1f %10.2f\n", name.c_str(), elements, kernel_rate, copy_rate,
                kernel_rate / copy_rate);
    rows.push_back({{"subject", name},
                    {"gelements_per_s", elements},
                    {"kernel_gb_per_s", kernel_rate},
                    {"copy_gb_per_s", copy_rate},
                    {"ratio", kernel_rate / copy_rate}});
  };
  for (const DType dtype : {DType::kFp16, DType::kBf16, DType::kFp32, DType::kFp64}) {
    const std::string name = DTypeName(dtype);
    measure(name, {dtype, dtype}, false);
    measure(name + ".log", {dtype, dtype, true, false}, false);
    measure(name + ".skip", {dtype, dtype, false, true}, false);
    measure(name + ".none", {dtype, dtype}, true);
  }
  measure("fp16+fp64", {DType::kFp16, DType::kFp64}, false);
  return rows;
}

std::vector<std::unique_ptr<Lane>> LanesOf(const Device& device, int count, const Effort& effort) {
  return Require(MakeLanes(device, count, effort.lane_bytes));
}

// Lanes from the host's memory to the host's memory, beside a copy of the same bytes from pinned memory.
json EndToEnd(const Device& device, const Effort& effort) {
  std::printf("\n%-14s %10s %10s %10s\n", "end to end", "GB/s", "copy GB/s", "of a copy");
  const Formula fp32;
  const int64_t elements = std::min(effort.pair_elements, effort.lane_bytes / 8);
  const Workload::Shape shape{fp32, elements, std::max<int64_t>(1, effort.lane_bytes / 8 / elements), false};
  json rows = json::array();
  for (const int count : {1, 3}) {
    const std::vector<std::unique_ptr<Lane>> lanes = LanesOf(device, count, effort);
    std::vector<std::unique_ptr<Workload>> workloads;
    for (const auto& lane : lanes) {
      workloads.push_back(std::make_unique<Workload>(shape));
      Require(lane->Run(workloads.back()->pieces()));
      RequireRight(*workloads.back(), "end to end");
    }
    const double seconds = SecondsOf(effort.repetitions, [&](int64_t calls) {
      std::vector<std::thread> threads;
      for (size_t i = 0; i < lanes.size(); ++i) {
        threads.emplace_back([&lane = *lanes[i], &workload = *workloads[i], calls] {
          for (int64_t call = 0; call < calls; ++call) Require(lane.Run(workload.pieces()));
        });
      }
      for (std::thread& thread : threads) thread.join();
      return absl::OkStatus();
    });
    const auto batch = Require(ResidentBatch::Make(*workloads.front()));
    const double copy =
        SecondsOf(effort.repetitions, [&](int64_t calls) { return batch->CopyFromHost(calls); });
    const double rate = Giga(count * workloads.front()->tensor_bytes(), seconds);
    const double copy_rate = Giga(batch->copied_bytes(), copy);
    const std::string name = absl::StrCat(count, count == 1 ? " lane" : " lanes");
    std::printf("%-14s %10.2f %10.2f %10.2f\n", name.c_str(), rate, copy_rate, rate / copy_rate);
    rows.push_back(
        {{"lanes", count}, {"gb_per_s", rate}, {"copy_gb_per_s", copy_rate}, {"ratio", rate / copy_rate}});
  }
  return rows;
}

// Launches that a lane needs for these pieces.
int64_t LaunchesFor(const Workload& workload, const Effort& effort) {
  int64_t launches = 0;
  Round round;
  for (Cursor cursor; cursor.piece < workload.pieces().size(); ++launches) {
    round.Plan(workload.pieces(), BufferSizesFor(effort.lane_bytes), cursor);
  }
  return launches;
}

double LaneSeconds(Lane& lane, const Workload& workload, const std::string& subject, const Effort& effort) {
  Require(lane.Run(workload.pieces()));
  RequireRight(workload, subject);
  return SecondsOf(effort.repetitions, [&](int64_t calls) {
    absl::Status status;
    for (int64_t call = 0; call < calls && status.ok(); ++call) status = lane.Run(workload.pieces());
    return status;
  });
}

// What batches of short pairs cost a lane.
json ShortBatches(const Device& device, const Effort& effort) {
  std::printf("\n%-14s %10s %10s %10s\n", "pairs a batch", "elements", "launches", "us");
  const std::vector<std::unique_ptr<Lane>> lanes = LanesOf(device, 1, effort);
  json rows = json::array();
  for (const int64_t pairs : {int64_t{1}, effort.short_pairs}) {
    const Workload workload({{}, effort.short_elements, pairs, false});
    const int64_t launches = LaunchesFor(workload, effort);
    const double us = 1e6 * LaneSeconds(*lanes.front(), workload, "short batch", effort);
    std::printf("%-14lld %10lld %10lld %10.1f\n", static_cast<long long>(pairs),
                static_cast<long long>(workload.elements()), static_cast<long long>(launches), us);
    rows.push_back({{"pairs", pairs}, {"elements", workload.elements()}, {"launches", launches}, {"us", us}});
  }
  return rows;
}

// One CPU lane beside one CUDA lane, over the length of a single fp32 pair. The threshold is the shortest
// length from which on the CUDA lane is never slower: what to give --cuda_min_batch_elements.
json Crossover(const Device& device, const Effort& effort) {
  std::printf("\n%-14s %10s %10s\n", "elements", "CPU us", "CUDA us");
  const std::vector<std::unique_ptr<Lane>> lanes = LanesOf(device, 1, effort);
  const std::unique_ptr<Lane> cpu_lane = server::MakeCpuLane();
  json rows = json::array();
  json threshold;  // null: from none of them
  for (int64_t elements = 1 << 10; elements <= effort.longest; elements *= 2) {
    const Workload workload({{}, elements, 1, false});
    const double cpu = 1e6 * LaneSeconds(*cpu_lane, workload, "CPU lane", effort);
    const double cuda = 1e6 * LaneSeconds(*lanes.front(), workload, "CUDA lane", effort);
    if (cuda > cpu) {
      threshold = nullptr;
    } else if (threshold.is_null()) {
      threshold = elements;
    }
    std::printf("%-14lld %10.1f %10.1f\n", static_cast<long long>(elements), cpu, cuda);
    rows.push_back({{"elements", elements}, {"cpu_us", cpu}, {"cuda_us", cuda}});
  }
  std::printf("a CUDA lane overtakes a CPU lane at %s elements\n",
              threshold.is_null() ? "none of these" : threshold.dump().c_str());
  return {{"rows", rows}, {"threshold_elements", threshold}};
}

struct CommandLine {
  std::string json_file;
  bool tiny = false;
  bool names = false;
  std::optional<std::vector<int>> devices;
};

std::optional<CommandLine> Parse(int argc, char** argv) {
  CommandLine line;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    int number = 0;
    if (argument == "--tiny") {
      line.tiny = true;
    } else if (argument == "--names") {
      line.names = true;
    } else if (absl::ConsumePrefix(&argument, "--json=") && !argument.empty()) {
      line.json_file = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--device=") && absl::SimpleAtoi(argument, &number)) {
      line.devices = std::vector<int>{number};
    } else {
      return std::nullopt;
    }
  }
  return line;
}

int Main(int argc, char** argv) {
  const std::optional<CommandLine> line = Parse(argc, argv);
  if (!line.has_value()) {
    std::fprintf(stderr, "usage: gpu_benchmark [--json=FILE] [--tiny] [--device=N] | --names\n");
    return 2;
  }
  const Effort effort = line->tiny ? TinyEffort() : Effort();
  const FoundDevices found = Require(FindDevices(line->devices));
  if (line->names) {
    for (const Device& each : found.devices) std::printf("%s\n", each.name.c_str());
    return 0;
  }
  const Device device = found.devices.front();
  numerics::ResetFloatControl();
  Require(CudaStatus("cudaSetDevice", cudaSetDevice(device.number)));

  const bool emulated = absl::StrContains(device.name, "emulated");
  std::printf("%s\n", device.name.c_str());
  const auto remark = [emulated] {
    if (emulated) std::printf("\nTIMINGS ARE MEANINGLESS: the device is emulated on the CPU\n");
  };
  remark();
  json report = {{"version", KLDIV_VERSION}, {"device", device.name}, {"timings_are_meaningful", !emulated}};
  report["kernel"] = KernelBandwidth(effort);
  report["end_to_end"] = EndToEnd(device, effort);
  report["short_batches"] = ShortBatches(device, effort);
  report["crossover"] = Crossover(device, effort);
  remark();
  if (line->json_file.empty()) return 0;
  std::ofstream file(line->json_file);
  file << report.dump(2) << "\n";
  file.close();
  if (!file) Require(absl::UnknownError("cannot write " + line->json_file));
  return 0;
}

}  // namespace
}  // namespace kldiv::cuda::testing

int main(int argc, char** argv) try {
  return kldiv::cuda::testing::Main(argc, argv);
} catch (const std::exception& error) {  // out of memory, most likely
  std::fprintf(stderr, "gpu_benchmark: %s\n", error.what());
  return 1;
}
