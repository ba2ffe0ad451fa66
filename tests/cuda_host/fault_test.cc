// Errors: injected ones, sticky ones, those of devices that are not there; and the count of what is live.

#include <cstring>

#include "tests/cuda_host/host_device.h"
#include "tests/cuda_host/test_kernels.h"

namespace kldiv::cuda_host::testing {
namespace {

class Faults : public HostDevice {};
INSTANTIATE_TEST_SUITE_P(Modes, Faults, EveryMode(), ModeName);

TEST_P(Faults, ComeUpAtTheNthCallAndOnce) {
  DeviceArray<int> device(1);
  PinnedArray<int> pinned(1);
  const auto copy = [&] {
    return cudaMemcpyAsync(device.data(), pinned.data(), 4, cudaMemcpyHostToDevice, nullptr);
  };
  FailCall("cudaMemcpyAsync", 2, cudaErrorNotSupported);
  EXPECT_EQ(copy(), cudaSuccess);
  EXPECT_EQ(copy(), cudaErrorNotSupported);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorNotSupported);
  EXPECT_EQ(cudaGetLastError(), cudaErrorNotSupported);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(copy(), cudaSuccess);
}

TEST_P(Faults, CanComeUpAgainAndAgain) {
  FailCallsFrom("cudaMalloc", 2, cudaErrorMemoryAllocation);
  void* first = nullptr;
  void* other = nullptr;
  EXPECT_EQ(cudaMalloc(&first, 1), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&other, 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&other, 1), cudaErrorMemoryAllocation);
  ClearFaults();
  EXPECT_EQ(cudaFree(first), cudaSuccess);
}

TEST_P(Faults, LeaveCallsCounted) {
  ClearCallCounts();
  FailCall("cudaMalloc", 1, cudaErrorMemoryAllocation);
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&memory, 1), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  const auto counts = CallCounts();
  EXPECT_EQ(counts.at("cudaMalloc"), 2);
  EXPECT_EQ(counts.at("cudaFree"), 1);
  EXPECT_EQ(counts.count("cudaStreamDestroy"), 0u);
}

TEST_P(Faults, OfAReleaseReleaseEvenSo) {
  void* memory = nullptr;
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, 1), cudaSuccess);
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  FailCall("cudaFree", 1, cudaErrorUnknown);
  EXPECT_EQ(cudaFree(memory), cudaErrorUnknown);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaErrorUnknown);  // sticky by now, and yet it is gone
  EXPECT_EQ(LiveResources(), 0);
}

// ---- Sticky errors.

TEST_P(Faults, OfOneCallDoNotStickWhenTheyAreTheCallsOwn) {
  FailCall("cudaMalloc", 1, cudaErrorMemoryAllocation);
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&memory, 1), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
}

TEST_P(Faults, OfAKernelStickAndFailAllLaterCalls) {
  OwnStream stream;
  OwnEvent event;
  DeviceArray<int> value(1);
  FailCall("kernel", 1, cudaErrorIllegalAddress);
  ASSERT_EQ(LaunchStore(stream, value.data(), 1), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 1), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaEventRecord(event, stream), cudaErrorIllegalAddress);
  EXPECT_EQ(LaunchStore(stream, value.data(), 1), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);  // it cannot be cleared
  EXPECT_EQ(cudaDeviceReset(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaMalloc(&memory, 1), cudaErrorIllegalAddress);
}

TEST_P(Faults, OfAnExecutedCopyComeUpWhenTheHostWaits) {
  DeviceArray<int> device(1);
  PinnedArray<int> pinned(1);
  FailCall("copy", 1, cudaErrorECCUncorrectable);
  ASSERT_EQ(cudaMemcpyAsync(device.data(), pinned.data(), 4, cudaMemcpyHostToDevice, nullptr), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorECCUncorrectable);
}

TEST_P(Faults, InjectedIntoACallStickWhenTheRealOnesDo) {
  FailCall("cudaStreamSynchronize", 1, cudaErrorLaunchFailure);
  EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaErrorLaunchFailure);
}

TEST_P(Faults, OfOneDeviceLeaveTheOtherInService) {
  SetDeviceCount(2);
  DeviceArray<int> value(1);
  FailCall("kernel", 1, cudaErrorLaunchFailure);
  ASSERT_EQ(LaunchStore(nullptr, value.data(), 1), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  {
    DeviceArray<int> other(1);
    ASSERT_EQ(LaunchStore(nullptr, other.data(), 3), cudaSuccess);
    EXPECT_EQ(other.Read()[0], 3);
  }
  EXPECT_EQ(cudaSetDevice(0), cudaErrorLaunchFailure);
}

TEST_P(Faults, KeepALostDeviceFromExecutingAnything) {
  OwnStream stream;
  DeviceArray<int> value(1);
  PinnedArray<int> seen(1);
  seen[0] = 5;
  HoldExecution();
  FailCall("kernel", 1, cudaErrorIllegalAddress);
  ASSERT_EQ(LaunchStore(stream, value.data(), 1), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(seen.data(), value.data(), 4, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  ReleaseExecution();
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
  EXPECT_EQ(seen[0], 5);
}

// ---- Devices.

TEST_P(Faults, SayThatThereIsNoDevice) {
  SetDeviceCount(0);
  int count = -1;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  EXPECT_EQ(count, -1);  // untouched
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 1), cudaErrorNoDevice);
  SetDeviceCount(1);
  FailCall("cudaGetDeviceCount", 1, cudaErrorInsufficientDriver);
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
  EXPECT_EQ(count, -1);
}

TEST_P(Faults, KeepStreamsAndEventsWithTheirDevice) {
  SetDeviceCount(2);
  OwnStream stream;
  OwnEvent event;
  DeviceArray<int> value(1);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(LaunchStore(stream, value.data(), 1), cudaErrorInvalidResourceHandle);
  OwnEvent other_event;
  EXPECT_EQ(cudaEventRecord(other_event, stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
}

TEST_P(Faults, NameWhatIsEmulated) {
  cudaDeviceProp properties{};
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_STREQ(properties.name, "emulated on the CPU");
  EXPECT_EQ(properties.warpSize, 32);
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 1), cudaErrorInvalidDevice);
}

TEST_P(Faults, HaveTheRealNames) {
  EXPECT_STREQ(cudaGetErrorName(cudaErrorIllegalAddress), "cudaErrorIllegalAddress");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
  EXPECT_STREQ(cudaGetErrorName(static_cast<cudaError_t>(12345)), "unrecognized error code");
}

// ---- Handles and leaks.

TEST_P(Faults, CountWhatIsLive) {
  {
    OwnStream stream;
    OwnEvent event;
    DeviceArray<int> device(1);
    PinnedArray<int> pinned(1);
    EXPECT_EQ(LiveStreams(), 1);
    EXPECT_EQ(LiveEvents(), 1);
    EXPECT_EQ(LiveDeviceAllocations(), 1);
    EXPECT_EQ(LivePinnedAllocations(), 1);
    EXPECT_EQ(LiveAllocations(), 2);
    EXPECT_EQ(LiveResources(), 4);
  }
  EXPECT_EQ(LiveResources(), 0);
}

TEST_P(Faults, RefuseHandlesThatAreGone) {
  void* memory = nullptr;
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, 1), cudaSuccess);
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(memory), cudaErrorInvalidValue);  // it is the device's
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaErrorInvalidValue);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventDestroy(event), cudaErrorInvalidResourceHandle);
}

}  // namespace
}  // namespace kldiv::cuda_host::testing
