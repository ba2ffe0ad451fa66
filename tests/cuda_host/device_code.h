#ifndef KLDIV_TESTS_CUDA_HOST_DEVICE_CODE_H_
#define KLDIV_TESTS_CUDA_HOST_DEVICE_CODE_H_

// Lets a host compiler compile a .cu file as plain C++: included before its first line
// (kldiv_cuda_host_sources in cuda_host.cmake does that), on top of the toolkit's own headers. Kernels are
// then executed by kldiv_cuda_host.
//
// What the code has to do for it:
//   launch with cudaLaunchKernelEx, not <<<>>>
//   declare shared arrays with KLDIV_SHARED(type, name, count), which under nvcc is `__shared__ type
//   name[count]` keep inline PTX behind #ifdef __CUDACC__; no cub, no cooperative groups have no #ifdef
//   __CUDA_ARCH__ around arithmetic: what stands there is never compiled here

// Its declarations of threadIdx and the like give way to those in device_builtins.h.
#define __DEVICE_LAUNCH_PARAMETERS_H__
#include <cuda_runtime.h>

// The standard headers use __noinline__ in attributes of their own, so they come before it is defined.
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>

#include "tests/cuda_host/device_arithmetic.h"
#include "tests/cuda_host/device_builtins.h"
#include "tests/cuda_host/launch.h"

#define cudaLaunchKernelEx ::kldiv::cuda_host::LaunchKernel

#undef __shared__
#define __shared__ static_assert(false, "declare shared arrays with KLDIV_SHARED")
#define KLDIV_SHARED(type, name, count) \
  type(&name)[count] = ::kldiv::cuda_host::SharedArray<type, count>([] {})
#define KLDIV_DYNAMIC_SHARED(type, name) \
  type* name = static_cast<type*>(::kldiv::cuda_host::DynamicSharedMemory())

// Constants of the device are constants of the program.
#undef __constant__
#define __constant__
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __noinline__
#define __noinline__ __attribute__((noinline))

#endif  // KLDIV_TESTS_CUDA_HOST_DEVICE_CODE_H_
