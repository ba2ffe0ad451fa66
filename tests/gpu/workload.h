#ifndef KLDIV_TESTS_GPU_WORKLOAD_H_
#define KLDIV_TESTS_GPU_WORKLOAD_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "server/lanes/lane.h"
#include "server/numerics/formula.h"
#include "tests/testing/random_pair.h"

namespace kldiv::cuda::testing {

// A batch to be timed: `copies` times the same random pair, which the host holds once and a device as often
// as there are copies. Its right answers are those of the scalar reference.
class Workload {
 public:
  struct Shape {
    numerics::Formula formula = {};
    int64_t elements = 0;  // of each pair, at least 1
    int64_t copies = 1;
    bool pointwise = false;  // `none` instead of a sum
  };

  explicit Workload(const Shape& shape);
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;

  // Every pair, whole. Evaluating them fills this workload's results.
  std::span<const server::Piece> pieces() const { return pieces_; }

  // Of all pairs.
  int64_t elements() const { return shape_.elements * shape_.copies; }
  int64_t tensor_bytes() const;
  int64_t answer_bytes() const;  // tile sums or pointwise losses

  // Whether all results are right, to the bit. False for results that nobody has filled.
  bool Right() const;

 private:
  const Shape shape_;
  std::vector<double> right_sums_;
  std::vector<uint8_t> right_losses_;
  std::vector<double> sums_;     // of all copies
  std::vector<uint8_t> losses_;  // of all copies
  std::unique_ptr<kldiv::testing::RandomPair> pair_;
  std::deque<server::LanePair> lane_pairs_;
  std::vector<server::Piece> pieces_;
};

}  // namespace kldiv::cuda::testing

#endif  // KLDIV_TESTS_GPU_WORKLOAD_H_
