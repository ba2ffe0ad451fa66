#include "server/warm_up.h"

#include <vector>

#include "server/lanes/cpu_kernel.h"
#include "server/numerics/float_control.h"
#include "server/numerics/formula.h"

namespace kldiv::server {

void WarmUp() {
  using numerics::DType;
  using numerics::Formula;
  numerics::ResetFloatControl();
  constexpr int64_t kElements = 2 * numerics::kTileElements + 1;  // whole tiles and a part of one
  const std::vector<double> zeros(kElements);                     // zero in every dtype
  std::vector<double> out(kElements);
  for (const DType input : {DType::kFp16, DType::kBf16, DType::kFp32, DType::kFp64}) {
    for (const DType target : {DType::kFp16, DType::kBf16, DType::kFp32, DType::kFp64}) {
      for (const bool log_target : {false, true}) {
        for (const bool skip : {false, true}) {
          const Formula formula{input, target, log_target, skip};
          cpu_kernel::TileSums(formula, zeros.data(), zeros.data(), kElements, out.data());
          cpu_kernel::Fold(out.data(), numerics::TileCount(kElements));
          cpu_kernel::Pointwise(formula, zeros.data(), zeros.data(), kElements, out.data());
        }
      }
    }
  }
}

}  // namespace kldiv::server
