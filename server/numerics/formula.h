#ifndef KLDIV_SERVER_NUMERICS_FORMULA_H_
#define KLDIV_SERVER_NUMERICS_FORMULA_H_

#include <cstdint>

namespace kldiv::numerics {

// Element types. The numbers are those of kldiv.v1.DataType.
enum class DType : uint8_t { kFp16 = 1, kBf16 = 2, kFp32 = 3, kFp64 = 4 };

// Bytes of one element.
constexpr int ElementSize(DType dtype) { return dtype == DType::kFp64 ? 8 : dtype == DType::kFp32 ? 4 : 2; }

// The dtype in which PyTorch answers for two tensors of these: FP16 with BF16 gives FP32.
constexpr DType Promote(DType a, DType b) {
  if (a == b) return a;
  return a == DType::kFp64 || b == DType::kFp64 ? DType::kFp64 : DType::kFp32;
}

// What decides the arithmetic of one element, beside its two values.
struct Formula {
  DType input = DType::kFp32;   // of x, the log-probabilities
  DType target = DType::kFp32;  // of t; also chooses between LN32, EXP32 and LN64, EXP64
  bool log_target = false;      // t holds log-probabilities
  bool skip_zero_target = false;

  DType output() const { return Promote(input, target); }  // of pointwise losses
  friend bool operator==(const Formula&, const Formula&) = default;
};

// A change of any bit of any answer is a new version.
inline constexpr uint32_t kNumericsVersion = 1;

// Elements whose sum is taken as one unit; pairs may be cut at its multiples.
inline constexpr int64_t kTileElements = 1024;

constexpr int64_t TileCount(int64_t elements) { return (elements + kTileElements - 1) / kTileElements; }

}  // namespace kldiv::numerics

#endif  // KLDIV_SERVER_NUMERICS_FORMULA_H_
