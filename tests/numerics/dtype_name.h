#ifndef KLDIV_TESTS_NUMERICS_DTYPE_NAME_H_
#define KLDIV_TESTS_NUMERICS_DTYPE_NAME_H_

#include "server/numerics/formula.h"

namespace kldiv::numerics {

// As reports of measurements write it. A literal.
inline const char* DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kFp16:
      return "fp16";
    case DType::kBf16:
      return "bf16";
    case DType::kFp32:
      return "fp32";
    case DType::kFp64:
      break;
  }
  return "fp64";
}

}  // namespace kldiv::numerics

#endif  // KLDIV_TESTS_NUMERICS_DTYPE_NAME_H_
