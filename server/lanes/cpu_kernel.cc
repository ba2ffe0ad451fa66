// Highway compiles the first part of this file once for each instruction set.
#include "server/lanes/cpu_kernel.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstdint>
#include <string>
#include <vector>

#include "server/lanes/cpu_kernel_targets.h"
#include "server/numerics/reduce.h"
#include "server/numerics/scalar.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/lanes/cpu_kernel.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#include "server/lanes/cpu_kernel_pointwise-inl.h"
#include "server/lanes/cpu_kernel_sums-inl.h"
#endif

#ifndef KLDIV_SERVER_LANES_CPU_KERNEL_CC_
#define KLDIV_SERVER_LANES_CPU_KERNEL_CC_
namespace kldiv::cpu_kernel {

// The functions of one instruction set, as in cpu_kernel.h; `sum_tile` sums one tile of given values.
struct Kernel {
  const char* name;
  void (*tile_sums)(const numerics::Formula& formula, const void* input, const void* target, int64_t elements,
                    double* sums);
  void (*pointwise)(const numerics::Formula& formula, const void* input, const void* target, int64_t elements,
                    void* out);
  double (*sum_tile)(const double* values, int64_t count);
};

inline constexpr Kernel kScalarKernel = {"scalar", numerics::scalar::TileSums, numerics::scalar::Pointwise,
                                         numerics::SumTile};

}  // namespace kldiv::cpu_kernel
#endif  // KLDIV_SERVER_LANES_CPU_KERNEL_CC_

HWY_BEFORE_NAMESPACE();
namespace kldiv::cpu_kernel {
namespace HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

const Kernel& GetKernel() { return kScalarKernel; }

#else

// Calls `function`.template operator()<kLogTarget, kSkipZero>().
template <class Function>
void WithFormula(const numerics::Formula& formula, const Function& function) {
  if (formula.log_target) {
    return formula.skip_zero_target ? function.template operator()<true, true>()
                                    : function.template operator()<true, false>();
  }
  return formula.skip_zero_target ? function.template operator()<false, true>()
                                  : function.template operator()<false, false>();
}

template <bool kWideTarget, class Input, class Target>
void SumsOf(const numerics::Formula& formula, Input input, Target target, int64_t elements, double* sums) {
  WithFormula(formula, [&]<bool kLogTarget, bool kSkipZero>() {
    SumsOfTiles<kWideTarget, kLogTarget, kSkipZero>(input, target, elements, sums);
  });
}

template <DType kDType>
void SumsOfOneDType(const numerics::Formula& formula, const uint8_t* input, const uint8_t* target,
                    int64_t elements, double* sums) {
  SumsOf<kDType == DType::kFp64>(formula, Tensor<kDType>(input), Tensor<kDType>(target), elements, sums);
}

void SumsOfTwoDTypes(const numerics::Formula& formula, const uint8_t* input, const uint8_t* target,
                     int64_t elements, double* sums) {
  const AnyTensor x(formula.input, input);
  if (formula.target == DType::kFp64) {
    return SumsOf<true>(formula, x, Tensor<DType::kFp64>(target), elements, sums);
  }
  return SumsOf<false>(formula, x, AnyTensor(formula.target, target), elements, sums);
}

void TileSums(const numerics::Formula& formula, const void* input_data, const void* target_data,
              int64_t elements, double* sums) {
  const auto* input = static_cast<const uint8_t*>(input_data);
  const auto* target = static_cast<const uint8_t*>(target_data);
  if (formula.input != formula.target) return SumsOfTwoDTypes(formula, input, target, elements, sums);
  switch (formula.target) {
    case DType::kFp16:
      return SumsOfOneDType<DType::kFp16>(formula, input, target, elements, sums);
    case DType::kBf16:
      return SumsOfOneDType<DType::kBf16>(formula, input, target, elements, sums);
    case DType::kFp32:
      return SumsOfOneDType<DType::kFp32>(formula, input, target, elements, sums);
    case DType::kFp64:
      return SumsOfOneDType<DType::kFp64>(formula, input, target, elements, sums);
  }
}

void Pointwise(const numerics::Formula& formula, const void* input, const void* target, int64_t elements,
               void* out) {
  const AnyTensor x(formula.input, static_cast<const uint8_t*>(input));
  const AnyTensor t(formula.target, static_cast<const uint8_t*>(target));
  auto* bytes = static_cast<uint8_t*>(out);
  WithFormula(formula, [&]<bool kLogTarget, bool kSkipZero>() {
    if (formula.target == DType::kFp64) {
      Losses<true, kLogTarget, kSkipZero>(x, t, formula.output(), elements, bytes);
    } else {
      Losses<false, kLogTarget, kSkipZero>(x, t, formula.output(), elements, bytes);
    }
  });
}

#if HWY_ARCH_X86
constexpr const char* kName = KLDIV_TARGET_AVX512 ? "AVX-512" : "AVX2";
#else
constexpr const char* kName = "NEON";
#endif
constexpr Kernel kKernel = {kName, TileSums, Pointwise, SumOfValues};

const Kernel& GetKernel() { return kKernel; }

#endif
}  // namespace HWY_NAMESPACE
}  // namespace kldiv::cpu_kernel
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kldiv::cpu_kernel {
namespace {

HWY_EXPORT(GetKernel);

// Those that this machine can run, the best first.
std::vector<const Kernel*> SupportedKernels() {
  std::vector<const Kernel*> kernels;
#if defined(HWY_COMPILE_ONLY_STATIC)  // one instruction set, and a build without Highway's library
  kernels.push_back(&HWY_STATIC_DISPATCH(GetKernel)());
#else
  for (int64_t targets = hwy::SupportedTargets() & HWY_TARGETS; targets != 0; targets &= targets - 1) {
    hwy::GetChosenTarget().Update(targets & -targets);
    kernels.push_back(&HWY_DYNAMIC_DISPATCH(GetKernel)());
  }
#endif
  if (kernels.empty() || kernels.back() != &kScalarKernel) kernels.push_back(&kScalarKernel);
  return kernels;
}

// Null until it is first needed.
std::atomic<const Kernel*> current_kernel = nullptr;

HWY_NOINLINE const Kernel& ChooseKernel() {
  const Kernel* best = SupportedKernels().front();
  current_kernel.store(best, std::memory_order_release);
  return *best;
}

const Kernel& CurrentKernel() {
  const Kernel* kernel = current_kernel.load(std::memory_order_acquire);
  return HWY_LIKELY(kernel != nullptr) ? *kernel : ChooseKernel();
}

}  // namespace

void TileSums(const numerics::Formula& formula, const void* input, const void* target, int64_t elements,
              double* sums) {
  CurrentKernel().tile_sums(formula, input, target, elements, sums);
}

void Pointwise(const numerics::Formula& formula, const void* input, const void* target, int64_t elements,
               void* out) {
  CurrentKernel().pointwise(formula, input, target, elements, out);
}

double Fold(double* sums, int64_t count) {
  return numerics::FoldTileSums(sums, count, CurrentKernel().sum_tile);
}

std::string InstructionSet() { return CurrentKernel().name; }

std::vector<std::string> SupportedInstructionSets() {
  std::vector<std::string> names;
  for (const Kernel* kernel : SupportedKernels()) names.push_back(kernel->name);
  return names;
}

void UseInstructionSet(const std::string& name) {
  for (const Kernel* kernel : SupportedKernels()) {
    if (kernel->name == name) current_kernel.store(kernel, std::memory_order_release);
  }
  assert(InstructionSet() == name);
}

}  // namespace kldiv::cpu_kernel
#endif  // HWY_ONCE
