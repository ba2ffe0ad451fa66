#ifndef KLDIV_CLIENT_LOAD_WORKLOAD_H_
#define KLDIV_CLIENT_LOAD_WORKLOAD_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/include/kldiv/client.h"
#include "client/npy.h"

namespace kldiv::load {

struct ShapeWeight {
  std::vector<int64_t> shape;
  double weight = 1;
};

// "32x1000:3,1000:1": shapes and how often they come, 1 when it is left out. INVALID_ARGUMENT: what is wrong.
absl::StatusOr<std::vector<ShapeWeight>> ParseShapes(const std::string& text);

struct WorkloadOptions {
  std::vector<ShapeWeight> shapes = {};
  DType dtype = DType::kFp32;
  Reduction reduction = Reduction::kMean;
  bool log_target = false;
  uint64_t seed = 1;
  // Two .npy files instead of random data of the shapes and dtype above; both or none.
  std::string input_path = {};
  std::string target_path = {};
  bool verify = true;        // compute the right answers
  bool want_timing = false;  // ask the server for its share of the time
};

// A pair to be sent and the right answer. Views of a Workload's memory.
struct Item {
  Pair pair;
  int64_t elements = 0;
  int64_t bytes = 0;       // of both tensors
  uint64_t loss_bits = 0;  // unless pointwise
  std::string pointwise;   // for Reduction::kNone: the bytes of every element's loss
  DType pointwise_dtype = DType::kFp32;
};

// The pairs that a run sends: a pool of distinct ones for each shape, and the order in which they come.
// Immutable, so thread-safe.
class Workload {
 public:
  // At most this many pairs a shape, and fewer where they would take more than kMaxPoolBytes.
  static constexpr int kPairsPerShape = 8;
  static constexpr int64_t kMaxPoolBytes = int64_t{256} << 20;

  // Makes or reads the data, and computes the right answers on all cores. INVALID_ARGUMENT and others: a
  // reason for the user.
  static absl::StatusOr<std::unique_ptr<Workload>> Create(WorkloadOptions options);

  const WorkloadOptions& options() const { return options_; }

  // What is sent as the `index`-th pair: by chance, by the shapes' weights, and the same for the same seed.
  const Item& At(uint64_t index) const;

  // Is `evaluation` right to the bit? Always, without verification.
  bool IsRight(const Item& item, const Evaluation& evaluation) const;

 private:
  // The pairs of one shape.
  struct Pool {
    double until = 0;  // its share and those before it
    size_t first = 0;  // in items_
    size_t size = 0;
  };

  explicit Workload(WorkloadOptions options) : options_(std::move(options)) {}

  absl::Status OpenFiles();
  absl::Status Generate();
  void AddItem(const Tensor& input, const Tensor& target, int64_t elements);
  void Solve(Item& item) const;

  WorkloadOptions options_;
  std::optional<npy::File> input_file_;
  std::optional<npy::File> target_file_;
  std::vector<std::vector<std::byte>> memory_;  // of random tensors
  std::vector<Item> items_;
  std::vector<Pool> pools_;
};

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_WORKLOAD_H_
