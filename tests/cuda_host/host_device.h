#ifndef KLDIV_TESTS_CUDA_HOST_HOST_DEVICE_H_
#define KLDIV_TESTS_CUDA_HOST_HOST_DEVICE_H_

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "tests/cuda_host/control.h"

#if defined(__SANITIZE_ADDRESS__)
#define KLDIV_TEST_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define KLDIV_TEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KLDIV_TEST_ASAN 1
#elif __has_feature(thread_sanitizer)
#define KLDIV_TEST_TSAN 1
#endif
#endif

namespace kldiv::cuda_host::testing {

// A healthy device for each test, executing {eagerly, lazily} with some seed; everything is released at the
// end.
class HostDevice : public ::testing::TestWithParam<std::tuple<bool, uint64_t>> {
 protected:
  void SetUp() override {
    Recover();
    SetDeviceCount(1);
    SetDeviceMemory(size_t{1} << 30);
    SetLazy(std::get<0>(GetParam()));
    SetSeed(std::get<1>(GetParam()));
    ASSERT_EQ(LiveResources(), 0) << "left by the test before";
  }
  void TearDown() override {
    SetLazy(false);
    Recover();
    EXPECT_EQ(LiveResources(), 0);
  }
};

inline auto EveryMode() { return ::testing::Combine(::testing::Bool(), ::testing::Values(1, 2, 3)); }

inline std::string ModeName(const ::testing::TestParamInfo<std::tuple<bool, uint64_t>>& info) {
  return (std::get<0>(info.param) ? "LazySeed" : "EagerSeed") + std::to_string(std::get<1>(info.param));
}

// Device memory for `count` values.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : count_(count) {
    EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)), cudaSuccess);
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  // A copy, taken when all that was enqueued into the stream is done.
  std::vector<T> Read(cudaStream_t stream = nullptr) const {
    std::vector<T> values(count_);
    EXPECT_EQ(cudaMemcpyAsync(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost, stream),
              cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    return values;
  }

 private:
  size_t count_;
  T* data_ = nullptr;
};

// Pinned memory for `count` values.
template <class T>
class PinnedArray {
 public:
  explicit PinnedArray(size_t count) {
    EXPECT_EQ(cudaHostAlloc(reinterpret_cast<void**>(&data_), count * sizeof(T), cudaHostAllocDefault),
              cudaSuccess);
  }
  ~PinnedArray() { cudaFreeHost(data_); }
  PinnedArray(const PinnedArray&) = delete;
  PinnedArray& operator=(const PinnedArray&) = delete;
  T* data() const { return data_; }
  T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
};

// A stream that is ordered with no other.
class OwnStream {
 public:
  OwnStream() { EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess); }
  ~OwnStream() { cudaStreamDestroy(stream_); }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  operator cudaStream_t() const { return stream_; }  // NOLINT: stands for it

 private:
  cudaStream_t stream_ = nullptr;
};

class OwnEvent {
 public:
  explicit OwnEvent(unsigned flags = cudaEventBlockingSync | cudaEventDisableTiming) {
    EXPECT_EQ(cudaEventCreateWithFlags(&event_, flags), cudaSuccess);
  }
  ~OwnEvent() { cudaEventDestroy(event_); }
  OwnEvent(const OwnEvent&) = delete;
  OwnEvent& operator=(const OwnEvent&) = delete;
  operator cudaEvent_t() const { return event_; }  // NOLINT: stands for it

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace kldiv::cuda_host::testing

#endif  // KLDIV_TESTS_CUDA_HOST_HOST_DEVICE_H_
