// Lanes: what they ask of the runtime, several of them at once, devices, and every call failing.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "server/batching/batcher.h"
#include "server/batching/lane_runner.h"
#include "server/cuda/cuda_devices.h"
#include "server/cuda/cuda_lane.h"
#include "server/lanes/cpu_lane.h"
#include "tests/cuda/pair_set.h"
#include "tests/cuda_host/control.h"
#include "tests/cuda_host/host_device.h"
#include "tests/testing/collecting_task.h"
#include "tests/testing/random_pair.h"

namespace kldiv::cuda::testing {
namespace {

using kldiv::testing::DoneTasks;
using kldiv::testing::RandomPair;
using numerics::DType;
using server::Batcher;
using server::Lane;
using server::LaneKind;
using server::LaneRunner;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kBatchBytes = 1 << 20;
const Device kDevice{0, "cuda:0 emulated on the CPU"};

std::vector<std::unique_ptr<Lane>> Lanes(int count, int64_t batch_bytes = kBatchBytes) {
  auto lanes = MakeLanes(kDevice, count, batch_bytes);
  EXPECT_TRUE(lanes.ok()) << lanes.status();
  return lanes.ok() ? *std::move(lanes) : std::vector<std::unique_ptr<Lane>>();
}

class CudaLaneTest : public cuda_host::testing::HostDevice {
 protected:
  std::mt19937_64 random_{std::get<1>(GetParam())};
};

void AddSomePairs(std::mt19937_64& random, PairSet& pairs) {
  for (int i = 0; i < 10; ++i) {
    pairs.AddRandom(random, kldiv::testing::RandomFormula(random), static_cast<int64_t>(random() % 5000),
                    i % 3 == 0, 40);
  }
}

TEST_P(CudaLaneTest, CopiesOnceLaunchesOnceCopiesBackOnceAndSleeps) {
  const auto lanes = Lanes(1);
  PairSet pairs;
  AddSomePairs(random_, pairs);
  cuda_host::ClearCallCounts();
  ASSERT_EQ(lanes[0]->Run(pairs.Pieces()), absl::OkStatus());
  EXPECT_EQ(pairs.Difference(), "");
  const std::map<std::string, int64_t> want = {{"cudaSetDevice", 1},
                                               {"cudaMemcpyAsync", 2},
                                               {"cudaLaunchKernelEx", 1},
                                               {"cudaEventRecord", 4},
                                               {"cudaEventSynchronize", 1},
                                               {"cudaEventElapsedTime", 3},
                                               {"kernel", 1},
                                               {"copy", 2}};
  EXPECT_EQ(cuda_host::CallCounts(), want);
  EXPECT_EQ(cuda_host::PageableAsyncCopies(), 0);
  EXPECT_EQ(cuda_host::SpinningWaits(), 0);
}

TEST_P(CudaLaneTest, AllocatesNothingAfterItsMaking) {
  const auto lanes = Lanes(3);
  const int64_t live = cuda_host::LiveResources();
  EXPECT_EQ(live, 3 * 9);  // four buffers, a stream, four events
  PairSet pairs;
  AddSomePairs(random_, pairs);
  for (const auto& lane : lanes) ASSERT_EQ(lane->Run(pairs.Pieces()), absl::OkStatus());
  EXPECT_EQ(cuda_host::LiveResources(), live);
}

TEST_P(CudaLaneTest, TellsWhereItsTimeWent) {
  const auto lanes = Lanes(1);
  EXPECT_EQ(lanes[0]->device(), kDevice.name);
  PairSet pairs;
  AddSomePairs(random_, pairs);
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(lanes[0]->Run(pairs.Pieces()), absl::OkStatus());
  const int64_t whole_ns = std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
  const server::RunTimes times = lanes[0]->times();
  EXPECT_GT(times.gather_ns, 0);
  EXPECT_GT(times.copy_ns, 0);
  EXPECT_GT(times.compute_ns, 0);
  EXPECT_LE(times.gather_ns + times.copy_ns + times.compute_ns, whole_ns);
  ASSERT_EQ(lanes[0]->Run({}), absl::OkStatus());
  EXPECT_EQ(lanes[0]->times().compute_ns, 0);  // of the last run alone
}

TEST_P(CudaLaneTest, TakesAnEmptyListOfPieces) {
  const auto lanes = Lanes(1);
  EXPECT_EQ(lanes[0]->Run({}), absl::OkStatus());
}

TEST_P(CudaLaneTest, EvaluatesAPieceOfJustItsBatchAndOneATileLonger) {
  const auto lanes = Lanes(1);
  for (const int64_t extra : {0, 1, 1024}) {
    PairSet pairs;
    pairs.AddRandom(random_, {DType::kFp32, DType::kFp32}, kBatchBytes / 8 + extra, false, 0);
    ASSERT_EQ(lanes[0]->Run(pairs.Pieces()), absl::OkStatus());
    EXPECT_EQ(pairs.Difference(), "");
  }
}

TEST_P(CudaLaneTest, RunsRoundsForAPieceManyTimesItsBuffers) {
  const auto lanes = Lanes(1, 1 << 16);
  PairSet pairs;
  pairs.AddRandom(random_, {DType::kFp16, DType::kBf16, true, false}, 150'000, true, 100);
  pairs.AddRandom(random_, {DType::kFp64, DType::kFp64}, 30'000, false, 100);
  cuda_host::ClearCallCounts();
  ASSERT_EQ(lanes[0]->Run(pairs.Pieces()), absl::OkStatus());
  EXPECT_EQ(pairs.Difference(), "");
  EXPECT_GT(cuda_host::CallCounts()["cudaLaunchKernelEx"], 4);
}

// A batch's buffers are those of the one before.
TEST_P(CudaLaneTest, LeavesNothingOfOneBatchInTheNext) {
  const auto lanes = Lanes(1);
  for (int i = 0; i < 5; ++i) {
    PairSet pairs;
    AddSomePairs(random_, pairs);
    ASSERT_EQ(lanes[0]->Run(pairs.Pieces()), absl::OkStatus());
    EXPECT_EQ(pairs.Difference(), "");
  }
}

TEST_P(CudaLaneTest, KeepsSeveralLanesApart) {
  const auto lanes = Lanes(3);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < lanes.size(); ++i) {
    threads.emplace_back([&, i] {
      std::mt19937_64 random(i);
      for (int n = 0; n < 4; ++n) {
        PairSet pairs;
        AddSomePairs(random, pairs);
        EXPECT_EQ(lanes[i]->Run(pairs.Pieces()), absl::OkStatus());
        EXPECT_EQ(pairs.Difference(), "");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// ---- Devices.

TEST_P(CudaLaneTest, FindsAllDevicesOrThoseThatAreNamed) {
  cuda_host::SetDeviceCount(3);
  const auto names = [](const std::optional<std::vector<int>>& numbers) {
    std::vector<std::string> found;
    const auto devices = FindDevices(numbers);
    EXPECT_TRUE(devices.ok()) << devices.status();
    for (const Device& device : devices->devices) found.push_back(device.name);
    return found;
  };
  EXPECT_THAT(names(std::nullopt), ElementsAre("cuda:0 emulated on the CPU", "cuda:1 emulated on the CPU",
                                               "cuda:2 emulated on the CPU"));
  EXPECT_THAT(names(std::vector<int>{2, 0}),
              ElementsAre("cuda:2 emulated on the CPU", "cuda:0 emulated on the CPU"));
}

TEST_P(CudaLaneTest, SaysWhichDeviceDoesNotWorkAndUsesTheOthers) {
  cuda_host::SetDeviceCount(2);
  cuda_host::FailCall("cudaFuncGetAttributes", 1, cudaErrorNoKernelImageForDevice);
  const auto devices = FindDevices(std::nullopt);
  ASSERT_TRUE(devices.ok());
  ASSERT_EQ(devices->devices.size(), 1);
  EXPECT_EQ(devices->devices[0].number, 1);
  ASSERT_EQ(devices->warnings.size(), 1);
  EXPECT_THAT(devices->warnings[0],
              HasSubstr("cuda:0: cudaFuncGetAttributes: cudaErrorNoKernelImageForDevice"));
}

TEST_P(CudaLaneTest, SaysWhyThereIsNoDevice) {
  cuda_host::FailCall("cudaGetDeviceCount", 1, cudaErrorInsufficientDriver);
  const absl::Status status = FindDevices(std::nullopt).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("cudaGetDeviceCount: cudaErrorInsufficientDriver (35)"));
  EXPECT_EQ(FindDevices(std::vector<int>{7}).status().code(), absl::StatusCode::kUnavailable);
}

TEST_P(CudaLaneTest, RunsOnTheDeviceThatItWasMadeFor) {
  cuda_host::SetDeviceCount(2);
  auto second = MakeLanes(Device{1, "cuda:1"}, 1, kBatchBytes);
  ASSERT_TRUE(second.ok());
  const auto first = Lanes(1);
  for (int i = 0; i < 2; ++i) {
    for (Lane* const lane : {second->front().get(), first.front().get()}) {
      PairSet pairs;
      AddSomePairs(random_, pairs);
      ASSERT_EQ(lane->Run(pairs.Pieces()), absl::OkStatus());
      EXPECT_EQ(pairs.Difference(), "");
    }
  }
}

TEST_P(CudaLaneTest, SaysWhatDoesNotFitIntoTheDevicesMemory) {
  cuda_host::SetDeviceMemory(2 << 20);
  const absl::Status status = MakeLanes(kDevice, 3, kBatchBytes).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cuda:0 emulated on the CPU: cudaMalloc of "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("cudaErrorMemoryAllocation (2), out of memory"));
  EXPECT_EQ(cuda_host::LiveResources(), 0);
}

// ---- Every call fails once.

struct Failure {
  const char* api;
  int64_t nth;
  cudaError_t error;
};

// What Run calls, and how often in one round.
constexpr const char* kRunApis[] = {"cudaSetDevice",   "cudaMemcpyAsync",      "cudaLaunchKernelEx",
                                    "cudaEventRecord", "cudaEventSynchronize", "cudaEventElapsedTime"};

TEST_P(CudaLaneTest, LeavesNothingOverWhenAnyCallOfItsMakingFails) {
  for (const char* const api : {"cudaSetDevice", "cudaHostAlloc", "cudaMalloc", "cudaStreamCreateWithFlags",
                                "cudaEventCreateWithFlags"}) {
    for (int64_t nth = 1; nth <= 3; ++nth) {
      cuda_host::FailCall(api, nth, cudaErrorMemoryAllocation);
      const absl::Status status = MakeLanes(kDevice, 3, kBatchBytes).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << api << " " << nth;
      EXPECT_THAT(std::string(status.message()), HasSubstr(api));
      EXPECT_THAT(std::string(status.message()), HasSubstr("cudaErrorMemoryAllocation"));
      EXPECT_EQ(cuda_host::LiveResources(), 0) << api << " " << nth;
      cuda_host::Recover();
    }
  }
}

TEST_P(CudaLaneTest, AnswersAFailedCallAndGoesOnServing) {
  for (const char* const api : kRunApis) {
    for (int64_t nth = 1; nth <= 3; ++nth) {
      const auto lanes = Lanes(1, 1 << 16);
      PairSet pairs;
      pairs.AddRandom(random_, {DType::kFp32, DType::kFp32}, 60'000, false, 100);  // several rounds
      cuda_host::FailCall(api, nth, cudaErrorNotSupported);
      absl::Status status = lanes[0]->Run(pairs.Pieces());
      for (int runs = 1; status.ok() && runs < 3; ++runs) status = lanes[0]->Run(pairs.Pieces());
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << api << " " << nth;
      EXPECT_THAT(std::string(status.message()), HasSubstr(kDevice.name));
      EXPECT_THAT(std::string(status.message()), HasSubstr(api));
      EXPECT_THAT(std::string(status.message()), HasSubstr("cudaErrorNotSupported"));
      EXPECT_TRUE(lanes[0]->InService());
      pairs.ForgetResults();
      ASSERT_EQ(lanes[0]->Run(pairs.Pieces()), absl::OkStatus());
      EXPECT_EQ(pairs.Difference(), "");
    }
  }
  EXPECT_EQ(cuda_host::LiveResources(), 0);
}

TEST_P(CudaLaneTest, LeavesServiceWithAllLanesOfItsDeviceWhenTheErrorSticks) {
  for (const char* const api : {"cudaSetDevice", "cudaMemcpyAsync", "cudaLaunchKernelEx", "cudaEventRecord",
                                "cudaEventSynchronize", "kernel", "copy"}) {
    {
      const auto lanes = Lanes(3);
      PairSet pairs;
      AddSomePairs(random_, pairs);
      cuda_host::FailCall(api, 1, cudaErrorIllegalAddress);
      const absl::Status status = lanes[1]->Run(pairs.Pieces());
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << api;
      EXPECT_THAT(std::string(status.message()), HasSubstr("cudaErrorIllegalAddress (700)")) << api;
      for (const auto& lane : lanes) EXPECT_FALSE(lane->InService());
    }
    EXPECT_EQ(cuda_host::LiveResources(), 0) << api;
    cuda_host::Recover();
  }
}

// Each error goes away by itself, and comes again.
TEST_P(CudaLaneTest, LeavesServiceAfterTooManyFailedRunsInARow) {
  const auto lanes = Lanes(2);
  PairSet pairs;
  AddSomePairs(random_, pairs);
  const auto fail = [&](int times) {
    for (int i = 0; i < times; ++i) {
      ASSERT_TRUE(lanes[0]->InService());
      cuda_host::FailCall("cudaLaunchKernelEx", 1, cudaErrorLaunchOutOfResources);
      EXPECT_EQ(lanes[static_cast<size_t>(i % 2)]->Run(pairs.Pieces()).code(),
                absl::StatusCode::kUnavailable);
    }
  };
  fail(DeviceState::kFailuresOfABrokenDevice - 1);
  ASSERT_EQ(lanes[1]->Run(pairs.Pieces()), absl::OkStatus());  // not in a row
  fail(DeviceState::kFailuresOfABrokenDevice);
  for (const auto& lane : lanes) EXPECT_FALSE(lane->InService());
}

// When it cannot be known whether the device still works on the buffers, it is not given more.
TEST_P(CudaLaneTest, LeavesServiceWhenItCannotWaitForWhatIsUnderWay) {
  const auto lanes = Lanes(1);
  PairSet pairs;
  AddSomePairs(random_, pairs);
  cuda_host::FailCall("cudaEventRecord", 1, cudaErrorNotSupported);
  cuda_host::FailCall("cudaStreamSynchronize", 1, cudaErrorNotSupported);
  EXPECT_EQ(lanes[0]->Run(pairs.Pieces()).code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(lanes[0]->InService());
  cudaDeviceSynchronize();
}

TEST_P(CudaLaneTest, ReleasesEverythingEvenWhereReleasesFail) {
  for (const char* const api : {"cudaFree", "cudaFreeHost", "cudaStreamDestroy", "cudaEventDestroy"}) {
    for (int64_t nth = 1; nth <= 2; ++nth) {
      auto lanes = Lanes(2);
      cuda_host::FailCall(api, nth, cudaErrorNotSupported);
      lanes.clear();
      EXPECT_EQ(cuda_host::LiveResources(), 0) << api;
      cuda_host::ClearFaults();
    }
  }
}

// ---- With the batcher.

class CudaServing : public CudaLaneTest {
 protected:
  void Start(bool with_cpu, int64_t min_elements) {
    batcher_.emplace();
    if (with_cpu) {
      std::vector<std::unique_ptr<Lane>> cpu;
      for (int i = 0; i < 2; ++i) cpu.push_back(server::MakeCpuLane());
      cpu_runner_.emplace(*batcher_, LaneKind::kCpu, std::move(cpu), kBatchBytes);
    }
    cuda_runner_.emplace(
        *batcher_,
        LaneRunner::Options{
            .kind = LaneKind::kCuda, .max_batch_bytes = kBatchBytes, .min_elements = min_elements},
        Lanes(3));
  }
  void Stop() {
    batcher_->Close();
    cuda_runner_.reset();
    cpu_runner_.reset();
    batcher_.reset();
  }

  // Clients on several threads; every pair ends once: right, or, if that is allowed, with the fault.
  void Serve(bool may_fail) {
    constexpr int kThreads = 3;
    constexpr int kTasks = 12;
    std::vector<std::unique_ptr<RandomPair>> pairs;
    std::vector<double> sums;
    for (const int64_t elements : {1, 700, 9000, 70'000, 300'000}) {
      pairs.push_back(std::make_unique<RandomPair>(
          RandomPair::Shape{.formula = kldiv::testing::RandomFormula(random_), .elements = elements},
          random_));
      sums.push_back(pairs.back()->Sum());
    }
    DoneTasks done;
    std::vector<std::thread> clients;
    for (int thread = 0; thread < kThreads; ++thread) {
      clients.emplace_back([&, thread] {
        std::mt19937_64 random(static_cast<uint64_t>(thread));
        for (int i = 0; i < kTasks; ++i) {
          const wire::Pair& pair = pairs[random() % pairs.size()]->pair();
          batcher_->Enqueue(done.Make({&pair}, "client " + std::to_string(thread)));
        }
      });
    }
    for (std::thread& client : clients) client.join();
    ASSERT_TRUE(done.WaitFor(kThreads * kTasks));
    for (size_t i = 0; i < kThreads * kTasks; ++i) {
      const server::TaskPair& result = done.at(i).pairs()[0];
      if (may_fail && !result.status.ok()) {
        EXPECT_EQ(result.status.code(), absl::StatusCode::kUnavailable);
        EXPECT_THAT(std::string(result.status.message()), HasSubstr("cuda"));
        continue;
      }
      ASSERT_EQ(result.status, absl::OkStatus());
      for (size_t n = 0; n < pairs.size(); ++n) {
        if (&pairs[n]->pair() == result.lane.pair) {
          EXPECT_EQ(result.sum, sums[n]);
        }
      }
    }
    const Batcher::Counters counters = batcher_->counters();
    EXPECT_EQ(counters.enqueued_pairs, counters.completed_pairs);
  }

  std::optional<Batcher> batcher_;
  std::optional<LaneRunner> cpu_runner_;
  std::optional<LaneRunner> cuda_runner_;
};

TEST_P(CudaServing, AnswersClientsOnSeveralLanes) {
  Start(false, 0);
  Serve(false);
  Stop();
}

TEST_P(CudaServing, AnswersWithBothKindsOfLane) {
  Start(true, 8192);
  Serve(false);
  Stop();
}

TEST_P(CudaServing, HidesEveryFaultBehindTheCpu) {
  for (const Failure& failure : {Failure{"cudaMemcpyAsync", 3, cudaErrorNotSupported},
                                 {"cudaLaunchKernelEx", 2, cudaErrorLaunchOutOfResources},
                                 {"kernel", 2, cudaErrorIllegalAddress},
                                 {"copy", 1, cudaErrorECCUncorrectable},
                                 {"cudaEventSynchronize", 1, cudaErrorLaunchFailure}}) {
    Start(true, 1);
    cuda_host::FailCall(failure.api, failure.nth, failure.error);
    Serve(false);
    Stop();
    EXPECT_EQ(cuda_host::LiveResources(), 0) << failure.api;
    cuda_host::Recover();
  }
}

TEST_P(CudaServing, AnswersEveryPairOnceWhateverFails) {
  for (const Failure& failure : {Failure{"cudaMemcpyAsync", 2, cudaErrorNotSupported},
                                 {"cudaSetDevice", 5, cudaErrorNotSupported},
                                 {"kernel", 1, cudaErrorIllegalAddress},
                                 {"cudaEventRecord", 2, cudaErrorLaunchFailure}}) {
    Start(false, 0);
    cuda_host::FailCall(failure.api, failure.nth, failure.error);
    Serve(true);
    Stop();
    EXPECT_EQ(cuda_host::LiveResources(), 0) << failure.api;
    cuda_host::Recover();
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, CudaLaneTest, cuda_host::testing::EveryMode(), cuda_host::testing::ModeName);
INSTANTIATE_TEST_SUITE_P(Modes, CudaServing, cuda_host::testing::EveryMode(), cuda_host::testing::ModeName);

}  // namespace
}  // namespace kldiv::cuda::testing
