#ifndef KLDIV_TESTS_TESTING_RANDOM_PAIR_H_
#define KLDIV_TESTS_TESTING_RANDOM_PAIR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "proto/wire/pair.h"
#include "proto/wire/slices.h"
#include "server/numerics/formula.h"

namespace kldiv::testing {

// Bytes as a transport delivers them: cut into slices, each in an allocation of its own.
class SlicedBytes {
 public:
  // Slices of at most `max_slice` bytes at random cuts, some of them empty, at random alignments. The bytes
  // begin somewhere in the first slice.
  SlicedBytes(const std::vector<uint8_t>& bytes, size_t max_slice, std::mt19937_64& random);

  const wire::ByteView& view() const { return view_; }

 private:
  std::vector<std::unique_ptr<uint8_t[]>> memory_;
  std::vector<wire::Slice> slices_;
  wire::ByteView view_;
};

// A pair of tensors with its answers by the scalar reference. One value in a hundred is special: a zero or a
// subnormal, and, where asked for, what makes an answer infinite or NaN.
class RandomPair {
 public:
  struct Shape {
    numerics::Formula formula = {};
    int64_t elements = 0;
    size_t max_slice = size_t{16} << 10;
    bool with_non_finite = false;
  };

  RandomPair(const Shape& shape, std::mt19937_64& random);

  const wire::Pair& pair() const { return pair_; }

  // The right answers. The calling thread keeps subnormals.
  double Sum() const;
  std::vector<double> TileSums() const;
  std::vector<uint8_t> Pointwise() const;

 private:
  const Shape shape_;
  std::vector<uint8_t> input_bytes_;
  std::vector<uint8_t> target_bytes_;
  std::unique_ptr<SlicedBytes> input_;
  std::unique_ptr<SlicedBytes> target_;
  wire::Pair pair_;
};

// Any formula: both dtypes, both meanings of the target, zero targets skipped or not.
numerics::Formula RandomFormula(std::mt19937_64& random);

// Bytes of the answer to `none`.
size_t PointwiseBytes(const wire::Pair& pair);

}  // namespace kldiv::testing

#endif  // KLDIV_TESTS_TESTING_RANDOM_PAIR_H_
