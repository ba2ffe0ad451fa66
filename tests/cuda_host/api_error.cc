// The CUDA runtime's functions about errors.

#include "tests/cuda_host/runtime.h"

namespace kldiv::cuda_host {
namespace {

struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};

// The real runtime's names, and its texts or words to the same effect.
#define KLDIV_ERROR(error, text) \
  { error, #error, text }
constexpr ErrorText kErrors[] = {
    KLDIV_ERROR(cudaSuccess, "no error"),
    KLDIV_ERROR(cudaErrorInvalidValue, "invalid argument"),
    KLDIV_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    KLDIV_ERROR(cudaErrorInitializationError, "initialization error"),
    KLDIV_ERROR(cudaErrorCudartUnloading, "driver shutting down"),
    KLDIV_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    KLDIV_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    KLDIV_ERROR(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    KLDIV_ERROR(cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable"),
    KLDIV_ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    KLDIV_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    KLDIV_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    KLDIV_ERROR(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"),
    KLDIV_ERROR(cudaErrorECCUncorrectable, "uncorrectable ECC error encountered"),
    KLDIV_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    KLDIV_ERROR(cudaErrorNotReady, "device not ready"),
    KLDIV_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    KLDIV_ERROR(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    KLDIV_ERROR(cudaErrorLaunchTimeout, "the launch timed out and was terminated"),
    KLDIV_ERROR(cudaErrorAssert, "device-side assert triggered"),
    KLDIV_ERROR(cudaErrorHardwareStackError, "hardware stack error"),
    KLDIV_ERROR(cudaErrorIllegalInstruction, "an illegal instruction was encountered"),
    KLDIV_ERROR(cudaErrorMisalignedAddress, "misaligned address"),
    KLDIV_ERROR(cudaErrorInvalidAddressSpace, "operation not supported on global/shared address space"),
    KLDIV_ERROR(cudaErrorInvalidPc, "invalid program counter"),
    KLDIV_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    KLDIV_ERROR(cudaErrorNotPermitted, "operation not permitted"),
    KLDIV_ERROR(cudaErrorNotSupported, "operation not supported"),
    KLDIV_ERROR(cudaErrorSystemDriverMismatch,
                "system has unsupported display driver / cuda driver combination"),
    KLDIV_ERROR(cudaErrorUnknown, "unknown error"),
};
#undef KLDIV_ERROR

const ErrorText* Find(cudaError_t error) {
  for (const ErrorText& entry : kErrors) {
    if (entry.error == error) return &entry;
  }
  return nullptr;
}

// A sticky error comes back as long as the context is lost.
cudaError_t LastError(bool clear) {
  CallingThread& thread = ThisThread();
  cudaError_t error = thread.last_error;
  if (clear) thread.last_error = cudaSuccess;
  if (error == cudaSuccess) {
    Runtime& runtime = Runtime::Get();
    const UnseenLock lock(runtime.mutex);
    error = runtime.sticky[thread.device];
  }
  return error;
}

}  // namespace
}  // namespace kldiv::cuda_host

using namespace kldiv::cuda_host;  // NOLINT(google-build-using-namespace): these functions are its public
                                   // face

extern "C" {

// These two report what a call before them, or an operation, has left. A fault injected into them is reported
// too.
cudaError_t cudaGetLastError() {
  const cudaError_t injected = BeginCall("cudaGetLastError", /*needs_healthy_device=*/false);
  const cudaError_t last = LastError(/*clear=*/true);
  return injected != cudaSuccess ? injected : last;
}

cudaError_t cudaPeekAtLastError() {
  const cudaError_t injected = BeginCall("cudaPeekAtLastError", /*needs_healthy_device=*/false);
  return injected != cudaSuccess ? injected : LastError(/*clear=*/false);
}

const char* cudaGetErrorName(cudaError_t error) {
  const ErrorText* entry = Find(error);
  return entry != nullptr ? entry->name : "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  const ErrorText* entry = Find(error);
  return entry != nullptr ? entry->text : "unrecognized error code";
}

}  // extern "C"
