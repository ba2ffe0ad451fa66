#ifndef KLDIV_SERVER_NUMERICS_REDUCE_H_
#define KLDIV_SERVER_NUMERICS_REDUCE_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

#include "server/numerics/formula.h"

// The order in which a pair's losses are added. It depends on the number of elements alone, so that the sum
// has the same bits wherever and in however many pieces it is computed.
//
// Consecutive values form tiles of 1024. In a tile, value e is added to accumulator e mod 128, all of which
// start at +0; the accumulators are added in fours of neighbours and then by halves. The tile sums, in order,
// are a sequence again, which is reduced in the same way until one value is left. No sum is ever -0.
namespace kldiv::numerics {

inline constexpr int kAccumulators = 128;

// The loss as it leaves the server: every NaN becomes 7ff8000000000000.
inline double Canonical(double value) {
  return value == value ? value : std::bit_cast<double>(uint64_t{0x7ff8000000000000u});
}

// A tile's sum from its accumulators.
inline double SumAccumulators(const double (&accumulators)[kAccumulators]) {
  double b[kAccumulators / 4];
  for (int j = 0; j < kAccumulators / 4; ++j) {
    const double* four = &accumulators[4 * j];
    b[j] = (four[0] + four[1]) + (four[2] + four[3]);
  }
  for (int half = kAccumulators / 8; half >= 1; half /= 2) {
    for (int j = 0; j < half; ++j) b[j] += b[j + half];
  }
  return b[0];
}

// The sum of one tile of 0 <= `count` <= 1024 values.
inline double SumTile(const double* values, int64_t count) {
  double accumulators[kAccumulators] = {};
  for (int64_t e = 0; e < count; ++e) accumulators[e % kAccumulators] += values[e];
  return SumAccumulators(accumulators);
}

// The tree above the tiles: folds `count` >= 0 tile sums, in order, by `sum_tile`(values, count). Overwrites
// them. NaN canonical; +0 when there are none.
template <class SumTileFunction>
double FoldTileSums(double* sums, int64_t count, SumTileFunction sum_tile) {
  if (count == 0) return 0.0;
  while (count > 1) {
    int64_t tiles = 0;
    for (int64_t first = 0; first < count; first += kTileElements) {
      sums[tiles++] = sum_tile(sums + first, std::min(kTileElements, count - first));
    }
    count = tiles;
  }
  return Canonical(sums[0]);
}

// A mean: `sum` over `divisor` >= 0, NaN canonical. 0 / 0 is NaN.
inline double Divide(double sum, int64_t divisor) { return Canonical(sum / static_cast<double>(divisor)); }

}  // namespace kldiv::numerics

#endif  // KLDIV_SERVER_NUMERICS_REDUCE_H_
