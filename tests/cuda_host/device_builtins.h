#ifndef KLDIV_TESTS_CUDA_HOST_DEVICE_BUILTINS_H_
#define KLDIV_TESTS_CUDA_HOST_DEVICE_BUILTINS_H_

// Device code's view of its thread, block and warp, as the CUDA C++ Programming Guide has it. Part of
// device_code.h.

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/cuda_host/device_thread.h"

namespace kldiv::cuda_host {

// Objects rather than macros, because cudaLaunchConfig_t has members of these names.
template <class Extent, Extent ThreadPosition::*kExtent, unsigned Extent::*kCoordinate>
struct Coordinate {
  operator unsigned() const { return Self()->*kExtent.*kCoordinate; }  // NOLINT: reads like the built-in
};
template <class Extent, Extent ThreadPosition::*kExtent>
struct BuiltIn {
  Coordinate<Extent, kExtent, &Extent::x> x;
  Coordinate<Extent, kExtent, &Extent::y> y;
  Coordinate<Extent, kExtent, &Extent::z> z;
  operator Extent() const { return Self()->*kExtent; }  // NOLINT: reads like the built-in
};

// One array for each declaration, told apart by the type of a lambda written there.
template <class Declaration>
inline constexpr char kDeclarationKey = 0;
template <class T, size_t kCount, class Declaration>
T (&SharedArray(Declaration))
[kCount] {
  return *static_cast<T(*)[kCount]>(SharedMemory(&kDeclarationKey<Declaration>, sizeof(T) * kCount));
}

template <class T>
T Shuffle(unsigned mask, T value, int source_lane, int line) {
  static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = MeetWarp(mask, WarpOperation::kShuffle, bits, source_lane, line);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The lane that a shuffle reads within its group of `width` lanes: itself when `wanted` lies outside.
inline int LaneInGroup(int lane, int wanted, int width) {
  const int group = lane & ~(width - 1);
  return wanted >= group && wanted < group + width ? wanted : lane;
}

}  // namespace kldiv::cuda_host

inline constexpr kldiv::cuda_host::BuiltIn<uint3, &kldiv::cuda_host::ThreadPosition::thread> threadIdx{};
inline constexpr kldiv::cuda_host::BuiltIn<uint3, &kldiv::cuda_host::ThreadPosition::block> blockIdx{};
inline constexpr kldiv::cuda_host::BuiltIn<dim3, &kldiv::cuda_host::ThreadPosition::block_dim> blockDim{};
inline constexpr kldiv::cuda_host::BuiltIn<dim3, &kldiv::cuda_host::ThreadPosition::grid_dim> gridDim{};
inline constexpr int warpSize = 32;

inline void __syncthreads(int line = __builtin_LINE()) { kldiv::cuda_host::MeetBlock(0, line); }
inline int __syncthreads_count(int predicate, int line = __builtin_LINE()) {
  return kldiv::cuda_host::MeetBlock(predicate, line);
}
inline int __syncthreads_or(int predicate, int line = __builtin_LINE()) {
  return kldiv::cuda_host::MeetBlock(predicate, line) > 0 ? 1 : 0;
}
inline int __syncthreads_and(int predicate, int line = __builtin_LINE()) {
  return kldiv::cuda_host::MeetBlock(predicate == 0 ? 1 : 0, line) == 0 ? 1 : 0;
}
inline void __syncwarp(unsigned mask = ~0u, int line = __builtin_LINE()) {
  kldiv::cuda_host::MeetWarp(mask, kldiv::cuda_host::WarpOperation::kSync, 0, 0, line);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, int line = __builtin_LINE()) {
  const int lane = kldiv::cuda_host::Self()->lane;
  return kldiv::cuda_host::Shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, int line = __builtin_LINE()) {
  const int lane = kldiv::cuda_host::Self()->lane;
  // Lower groups can be read, higher ones cannot.
  const int wanted = lane ^ lane_mask;
  const int end = (lane & ~(width - 1)) + width;
  return kldiv::cuda_host::Shuffle(mask, value, wanted < end ? wanted : lane, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, int line = __builtin_LINE()) {
  const int lane = kldiv::cuda_host::Self()->lane;
  const int wanted = lane + static_cast<int>(delta);
  return kldiv::cuda_host::Shuffle(mask, value, kldiv::cuda_host::LaneInGroup(lane, wanted, width), line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, int line = __builtin_LINE()) {
  const int lane = kldiv::cuda_host::Self()->lane;
  const int wanted = lane - static_cast<int>(delta);
  return kldiv::cuda_host::Shuffle(mask, value, kldiv::cuda_host::LaneInGroup(lane, wanted, width), line);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return static_cast<unsigned>(kldiv::cuda_host::MeetWarp(mask, kldiv::cuda_host::WarpOperation::kBallot,
                                                          predicate != 0 ? 1 : 0, 0, line));
}
inline int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return __ballot_sync(mask, predicate, line) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return __ballot_sync(mask, predicate == 0 ? 1 : 0, line) == 0 ? 1 : 0;
}

inline void __trap(int line = __builtin_LINE()) {
  kldiv::cuda_host::Fault(cudaErrorLaunchFailure, "__trap", line);
}

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// Caches are nothing that a program can see.
template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
template <class T>
void __stcs(T* address, T value) {
  *address = value;
}
template <class T>
void __stcg(T* address, T value) {
  *address = value;
}

// Integers only: what a sum of floating-point numbers gives would depend on the order. Relaxed, as on the
// device.
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>);
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}

#endif  // KLDIV_TESTS_CUDA_HOST_DEVICE_BUILTINS_H_
