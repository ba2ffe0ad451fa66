// A batch of pairs, of any lengths and dtypes, in one launch. A warp takes a tile of at most 1024 elements:
// it reads rows of 128 elements, four to a lane, so that lane l keeps the accumulators 4l to 4l + 3 of
// numerics/reduce.h, and ends with their tree in five shuffles. All that depends on the tile's dtypes and
// formula is the same throughout a warp.
//
// Built for three blocks of 256 threads on a multiprocessor, 24 warps, which leaves 80 registers a thread.
// Two rows are in flight: four loads of 16 bytes for FP32. More rows would spill, more warps too; the chains
// of binary64 operations are hidden by the four elements of each row and by the other warps.

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "server/cuda/kl_kernel.h"
#include "server/cuda/kl_number-inl.h"

#ifdef __CUDACC__
#define KLDIV_SHARED(type, name, count) __shared__ type name[count]
#endif

namespace kldiv::cuda {
namespace {

constexpr int kThreads = 256;
[[maybe_unused]] constexpr int kMinBlocks = 3;  // on a multiprocessor
constexpr int kWarpSize = 32;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kTile = static_cast<int>(numerics::kTileElements);
constexpr int kRow = 4 * kWarpSize;  // elements
constexpr int kRowsInFlight = 2;     // half of it where an operand is FP64

constexpr unsigned kFp16 = DTypeCode(numerics::DType::kFp16);
constexpr unsigned kFp32 = DTypeCode(numerics::DType::kFp32);
constexpr unsigned kFp64 = DTypeCode(numerics::DType::kFp64);

constexpr unsigned long long kInfinityBits = 0x7ff0000000000000u;
constexpr unsigned long long kNanBits = 0x7ff8000000000000u;

// ---- From memory to binary64.

// A lane's four elements of each row in flight, as they lie in memory: FP64 takes two vectors to a row.
struct RawRows {
  uint4 vectors[kRowsInFlight];
};

// Elements from `element` on, a multiple of four, of a tensor of `count` elements at `tensor`; zeros beyond
// it.
__device__ __forceinline__ RawRows LoadRows(const char* tensor, unsigned dtype, int rows, int element,
                                            int count) {
  RawRows raw;
#pragma unroll
  for (int r = 0; r < kRowsInFlight; ++r) raw.vectors[r] = make_uint4(0, 0, 0, 0);
  if (dtype == kFp32) {
#pragma unroll
    for (int r = 0; r < kRowsInFlight; ++r) {
      const int first = element + kRow * r;
      if (r < rows && first < count)
        raw.vectors[r] = __ldg(reinterpret_cast<const uint4*>(tensor + 4 * first));
    }
  } else if (dtype == kFp64) {
#pragma unroll
    for (int r = 0; r < kRowsInFlight / 2; ++r) {
      const int first = element + kRow * r;
      if (first < count) {
        const uint4* const vectors = reinterpret_cast<const uint4*>(tensor + 8 * first);
        raw.vectors[2 * r] = __ldg(vectors);
        raw.vectors[2 * r + 1] = __ldg(vectors + 1);
      }
    }
  } else {
#pragma unroll
    for (int r = 0; r < kRowsInFlight; ++r) {
      const int first = element + kRow * r;
      if (r < rows && first < count) {
        const uint2 halves = __ldg(reinterpret_cast<const uint2*>(tensor + 2 * first));
        raw.vectors[r].x = halves.x;
        raw.vectors[r].y = halves.y;
      }
    }
  }
  return raw;
}

__device__ __forceinline__ double FromFp32(unsigned bits) {
  return static_cast<double>(__uint_as_float(bits));
}

__device__ __forceinline__ double FromFp64(unsigned low, unsigned high) {
  return Number::FromBits(static_cast<unsigned long long>(high) << 32 | low);
}

// One of the two numbers in a word.
__device__ __forceinline__ double FromHalf(unsigned word, unsigned dtype, bool upper) {
  const unsigned bits = upper ? word >> 16 : word & 0xffffu;
  if (dtype == kFp16)
    return static_cast<double>(__half2float(__ushort_as_half(static_cast<unsigned short>(bits))));
  return FromFp32(bits << 16);
}

// Row `r` in flight, exactly.
__device__ __forceinline__ void Widen(const RawRows& raw, unsigned dtype, int r, double (&values)[4]) {
  const uint4 vector = raw.vectors[r];
  if (dtype == kFp32) {
    values[0] = FromFp32(vector.x);
    values[1] = FromFp32(vector.y);
    values[2] = FromFp32(vector.z);
    values[3] = FromFp32(vector.w);
  } else if (dtype == kFp64) {
    if (r < kRowsInFlight / 2) {
      const uint4 first = raw.vectors[(2 * r) % kRowsInFlight];
      const uint4 second = raw.vectors[(2 * r + 1) % kRowsInFlight];
      values[0] = FromFp64(first.x, first.y);
      values[1] = FromFp64(first.z, first.w);
      values[2] = FromFp64(second.x, second.y);
      values[3] = FromFp64(second.z, second.w);
    }
  } else {
    values[0] = FromHalf(vector.x, dtype, false);
    values[1] = FromHalf(vector.x, dtype, true);
    values[2] = FromHalf(vector.y, dtype, false);
    values[3] = FromHalf(vector.y, dtype, true);
  }
}

// ---- The formula.

template <bool kWideTarget, bool kLog>
__device__ __forceinline__ void Losses(const Number& number, const double (&x)[4], const double (&t)[4],
                                       double (&losses)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) losses[i] = math::Element<Number, kWideTarget, kLog, false>(number, x[i], t[i]);
}

// Shifting the sign out, not masking it: nvcc makes a mask an fp64 absolute value from sm_100 on, and ptxas
// that an fp64 addition.
__device__ __forceinline__ bool IsNan(double value) { return Number::Bits(value) << 1 > kInfinityBits << 1; }

// An element of target probability 0 counts 0, unless x is NaN.
__device__ __forceinline__ void SkipZeroTargets(bool log_target, const double (&x)[4], const double (&t)[4],
                                                double (&losses)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const unsigned long long bits = Number::Bits(t[i]);
    const bool zero = log_target ? bits == (kInfinityBits | 1ull << 63) : bits << 1 == 0;
    if (zero) losses[i] = IsNan(x[i]) ? x[i] : 0.0;
  }
}

__device__ __forceinline__ void RowLosses(const Number& number, const Tile& tile, const double (&x)[4],
                                          const double (&t)[4], double (&losses)[4]) {
  const bool log_target = (tile.flags & kLogTarget) != 0;
  const bool wide = (tile.dtypes >> 2 & 3) == kFp64;
  if (log_target) {
    if (wide) {
      Losses<true, true>(number, x, t, losses);
    } else {
      Losses<false, true>(number, x, t, losses);
    }
  } else if (wide) {
    Losses<true, false>(number, x, t, losses);
  } else {
    Losses<false, false>(number, x, t, losses);
  }
  if ((tile.flags & kSkipZeroTarget) != 0) SkipZeroTargets(log_target, x, t, losses);
}

// ---- Pointwise losses.

// Rounds once, to nearest even, to a format of kExponent and kFraction bits, in integers, as
// numerics/scalar.cc does: a conversion through float would round twice.
template <int kExponent, int kFraction>
__device__ __forceinline__ unsigned RoundTo(double value) {
  constexpr unsigned kInfinity = ((1u << kExponent) - 1) << kFraction;
  constexpr int kBias = (1 << (kExponent - 1)) - 1;
  if (IsNan(value)) return kInfinity | 1u << (kFraction - 1);

  const unsigned long long bits = Number::Bits(value);
  const unsigned sign = static_cast<unsigned>(bits >> 63) << (kExponent + kFraction);
  const int exponent = static_cast<int>(bits >> 52 & 2047) - 1023;
  if (exponent == 1024) return sign | kInfinity;
  if (exponent == -1023) return sign;  // below half of anything

  const unsigned long long significand = (bits & 0x000fffffffffffffu) | 1ull << 52;
  int field = exponent + kBias;
  int dropped = 52 - kFraction;
  if (field <= 0) {  // a subnormal: further bits go
    dropped += 1 - field;
    field = 0;
    if (dropped > 54) return sign;
  }
  const unsigned long long kept = significand >> dropped;
  const unsigned long long rest = significand & ((1ull << dropped) - 1);
  const unsigned long long half = 1ull << (dropped - 1);
  const unsigned long long rounded = kept + (rest > half || (rest == half && (kept & 1) != 0) ? 1 : 0);
  const unsigned long long result =
      field == 0 ? rounded : (static_cast<unsigned long long>(field - 1) << kFraction) + rounded;
  return sign | (result < kInfinity ? static_cast<unsigned>(result) : kInfinity);
}

__device__ __forceinline__ unsigned RoundToTwoBytes(unsigned dtype, double value) {
  return dtype == kFp16 ? RoundTo<5, 10>(value) : RoundTo<8, 7>(value);
}

__device__ __forceinline__ unsigned RoundToFp32(double value) {
  return IsNan(value) ? 0x7fc00000u : __float_as_uint(__double2float_rn(value));
}

__device__ __forceinline__ double CanonicalNan(double value) {
  return IsNan(value) ? Number::FromBits(kNanBits) : value;
}

// Writes four losses, of which the last ones may lie in the padding. Not inlined: it is rarely needed, and
// its registers would be everybody's.
__device__ __noinline__ void StoreLosses(char* losses, unsigned dtype, int element, double a, double b,
                                         double c, double d) {
  if (dtype == kFp64) {
    double2* const to = reinterpret_cast<double2*>(losses + 8 * element);
    to[0] = make_double2(CanonicalNan(a), CanonicalNan(b));
    to[1] = make_double2(CanonicalNan(c), CanonicalNan(d));
  } else if (dtype == kFp32) {
    *reinterpret_cast<uint4*>(losses + 4 * element) =
        make_uint4(RoundToFp32(a), RoundToFp32(b), RoundToFp32(c), RoundToFp32(d));
  } else {
    *reinterpret_cast<uint2*>(losses + 2 * element) =
        make_uint2(RoundToTwoBytes(dtype, a) | RoundToTwoBytes(dtype, b) << 16,
                   RoundToTwoBytes(dtype, c) | RoundToTwoBytes(dtype, d) << 16);
  }
}

// ---- The kernel.

// Copies the tables into shared memory; the caller waits for the block.
__device__ __forceinline__ void FillTables(double2* ln32, double2* ln64, unsigned long long* exp2) {
  const unsigned row = threadIdx.x & 7;
  if (threadIdx.x < 8) {
    ln32[row] = make_double2(numerics::kLnInverse[row], numerics::kLnLog[row]);
  } else if (threadIdx.x < 16) {
    ln64[row] = make_double2(numerics::kLnLogHigh[row], numerics::kLnLogLow[row]);
  } else if (threadIdx.x < 24) {
    exp2[row] = numerics::kExp2Offset[row];
  }
}

__device__ __forceinline__ Tile LoadTile(const Tile* tile) {
  const uint4 words = __ldg(reinterpret_cast<const uint4*>(tile));
  return {words.x,
          words.y,
          words.z,
          static_cast<uint16_t>(words.w & 0xffffu),
          static_cast<uint8_t>(words.w >> 16 & 0xffu),
          static_cast<uint8_t>(words.w >> 24)};
}

// The tile's sum, for lane 0, of four accumulators a lane.
__device__ __forceinline__ double SumAccumulators(const double (&accumulators)[4]) {
  double sum = Number::Add(Number::Add(accumulators[0], accumulators[1]),
                           Number::Add(accumulators[2], accumulators[3]));
#pragma unroll
  for (int half = kWarpSize / 2; half >= 1; half /= 2) {
    sum = Number::Add(sum, __shfl_xor_sync(0xffffffffu, sum, half));
  }
  return sum;
}

}  // namespace

// Named, unlike the rest of this file, for profilers and for the tests of what the compiler makes of it.
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    KlTiles(const char* __restrict__ staging, const Tile* __restrict__ tiles, uint32_t tile_count,
            double* __restrict__ sums, char* __restrict__ pointwise) {
  KLDIV_SHARED(double2, ln32, 8);
  KLDIV_SHARED(double2, ln64, 8);
  KLDIV_SHARED(unsigned long long, exp2, 8);
  FillTables(ln32, ln64, exp2);
  __syncthreads();  // every warp reads what the first one has written

  const uint32_t index = blockIdx.x * static_cast<uint32_t>(kWarps) + threadIdx.x / kWarpSize;
  if (index >= tile_count) return;  // the whole warp
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const Tile tile = LoadTile(tiles + index);
  const char* const x = staging + uint64_t{tile.input} * kUnitBytes;
  const char* const t = staging + uint64_t{tile.target} * kUnitBytes;
  const unsigned x_dtype = tile.dtypes & 3u;
  const unsigned t_dtype = tile.dtypes >> 2 & 3u;
  const int count = tile.count;
  const int rows = x_dtype == kFp64 || t_dtype == kFp64 ? kRowsInFlight / 2 : kRowsInFlight;

  const Number number{{ln32, ln64, exp2}};
  double accumulators[4] = {0, 0, 0, 0};
#pragma unroll 1
  for (int first = 0; first < kTile && first < count; first += kRow * rows) {
    const int element = first + 4 * lane;
    const RawRows t_rows = LoadRows(t, t_dtype, rows, element, count);
    const RawRows x_rows = LoadRows(x, x_dtype, rows, element, count);
#pragma unroll
    for (int r = 0; r < kRowsInFlight; ++r) {
      if (r >= rows) continue;
      double x_values[4] = {0, 0, 0, 0};
      double t_values[4] = {0, 0, 0, 0};
      double losses[4];
      Widen(x_rows, x_dtype, r, x_values);
      Widen(t_rows, t_dtype, r, t_values);
      RowLosses(number, tile, x_values, t_values, losses);
      if ((tile.flags & kPointwise) != 0 && element + kRow * r < count) {
        StoreLosses(pointwise + uint64_t{tile.output} * kUnitBytes, tile.dtypes >> 4 & 3u, element + kRow * r,
                    losses[0], losses[1], losses[2], losses[3]);
      }
      // Beyond the tensor's end the losses are those of zeros, +0, which change no accumulator.
#pragma unroll
      for (int i = 0; i < 4; ++i) accumulators[i] = Number::Add(accumulators[i], losses[i]);
    }
  }
  const double sum = SumAccumulators(accumulators);
  if (lane == 0) sums[index] = sum;
}

cudaError_t LaunchKlKernel(const KlBatch& batch, cudaStream_t stream) {
  if (batch.tile_count == 0) return cudaSuccess;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3((batch.tile_count + kWarps - 1) / kWarps);
  config.blockDim = dim3(kThreads);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, KlTiles, static_cast<const char*>(batch.staging), batch.tiles,
                            batch.tile_count, batch.sums, static_cast<char*>(batch.pointwise));
}

cudaError_t CheckKlKernel() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(KlTiles));
}

}  // namespace kldiv::cuda
