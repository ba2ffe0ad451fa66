#include "tests/cuda_host/faults.h"

#include <cstdio>
#include <cstdlib>

namespace kldiv::cuda_host {

bool IsSticky(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchTimeout:
    case cudaErrorLaunchFailure:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

void Faults::Add(const std::string& api, int64_t nth, cudaError_t error, bool repeated) {
  faults_.push_back({api, nth, error, repeated});
}

void Faults::AddFromText(const char* text) {
  while (*text != '\0') {
    char api[64];
    long long nth = 0;
    int error = 0;
    int used = 0;
    if (std::sscanf(text, "%63[^:,]:%lld:%d%n", api, &nth, &error, &used) != 3 || nth < 1 ||
        (text[used] != ',' && text[used] != '\0')) {
      std::fprintf(stderr, "cuda_host: a fault is API:NTH:ERROR, not '%s'\n", text);
      std::exit(2);
    }
    Add(api, nth, static_cast<cudaError_t>(error), /*repeated=*/false);
    text += used;
    if (*text == ',') ++text;
  }
}

cudaError_t Faults::Count(const char* api) {
  ++counts_[api];
  cudaError_t found = cudaSuccess;
  for (Fault& fault : faults_) {
    if (fault.api != api) continue;
    if (fault.calls_left > 0)
      --fault.calls_left;
    else if (!fault.repeated)
      continue;
    if (fault.calls_left == 0 && found == cudaSuccess) found = fault.error;
  }
  std::erase_if(faults_, [](const Fault& fault) { return fault.calls_left == 0 && !fault.repeated; });
  return found;
}

}  // namespace kldiv::cuda_host
