#ifndef KLDIV_TESTS_CUDA_HOST_LAUNCH_H_
#define KLDIV_TESTS_CUDA_HOST_LAUNCH_H_

#include <cuda_runtime_api.h>

#include <array>
#include <functional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>

namespace kldiv::cuda_host {

// Enqueues a kernel whose threads each execute `body`. `pointers` are its pointer arguments in order, null
// for the others: one that is not memory of the stream's device or pinned makes the kernel fault.
//
// Returns what cudaLaunchKernelEx returns, whose call it is.
cudaError_t EnqueueKernel(const cudaLaunchConfig_t* config, std::function<void()> body,
                          std::span<const void* const> pointers);

template <class T>
const void* PointerOrNull(const T& argument) {
  if constexpr (std::is_pointer_v<T>) {
    return static_cast<const void*>(argument);
  } else {
    return nullptr;
  }
}

// cudaLaunchKernelEx for a kernel that the host's compiler has compiled.
template <class... Parameters, class... Arguments>
cudaError_t LaunchKernel(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                         Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  std::tuple<std::decay_t<Parameters>...> bound(std::forward<Arguments>(arguments)...);
  const auto pointers = std::apply(
      [](const auto&... argument) {
        return std::array<const void*, sizeof...(Parameters)>{PointerOrNull(argument)...};
      },
      bound);
  return EnqueueKernel(
      config, [kernel, bound = std::move(bound)] { std::apply(kernel, bound); }, pointers);
}

}  // namespace kldiv::cuda_host

#endif  // KLDIV_TESTS_CUDA_HOST_LAUNCH_H_
