#include "client/tool/hints.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "server/numerics/scalar.h"

namespace kldiv::tool {
namespace {

constexpr int64_t kMaxElements = int64_t{1} << 24;

// How far a probability distribution in this dtype may be from its exact values: the rounding of a softmax
// that was computed in the dtype itself, or for float64 in float32.
double Tolerance(DType dtype) { return dtype == DType::kFp16 || dtype == DType::kBf16 ? 1e-2 : 1e-4; }

double Value(const Tensor& tensor, int64_t index) {
  return numerics::scalar::Widen(static_cast<numerics::DType>(tensor.dtype), tensor.data.data(), index);
}

// The rows that are looked at: `count` of `total`, `length` elements each.
struct Rows {
  int64_t length = 1;
  int64_t total = 0;
  int64_t count = 0;
};

Rows RowsOf(std::span<const int64_t> shape) {
  Rows rows;
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return rows;
  rows.total = 1;
  for (const int64_t size : shape) rows.total *= size;
  if (!shape.empty()) rows.length = shape.back();
  rows.total /= rows.length;
  rows.count = std::min(rows.total, std::max<int64_t>(1, kMaxElements / rows.length));
  return rows;
}

std::string Of(const Rows& rows, int64_t part) {
  return absl::StrCat(part, rows.count < rows.total ? " of the first " : " of ", rows.count, " rows");
}

void HintAtInput(const Pair& pair, const Rows& rows, std::vector<std::string>& hints) {
  const double tolerance = Tolerance(pair.input.dtype);
  int64_t positive = 0;
  double largest = 0;
  for (int64_t i = 0; i < rows.count * rows.length; ++i) {
    const double value = Value(pair.input, i);
    if (!(value > tolerance)) continue;
    ++positive;
    largest = std::max(largest, value);
  }
  if (positive == 0) return;
  hints.push_back(absl::StrCat("the input has ", positive, " positive values (the largest is ", largest,
                               "): it should hold log-probabilities"));
}

void HintAtTarget(const Pair& pair, const Rows& rows, std::vector<std::string>& hints) {
  const double tolerance = Tolerance(pair.target.dtype);
  int64_t wrong = 0;
  double first_sum = 0;
  for (int64_t row = 0; row < rows.count; ++row) {
    double sum = 0;
    for (int64_t i = row * rows.length; i < (row + 1) * rows.length; ++i) {
      const double value = Value(pair.target, i);
      sum += pair.log_target ? std::exp(value) : value;
    }
    if (std::abs(sum - 1) <= tolerance) continue;  // A NaN is wrong.
    if (wrong++ == 0) first_sum = sum;
  }
  if (wrong == 0) return;
  hints.push_back(
      absl::StrCat(Of(rows, wrong), " of the ", pair.log_target ? "target's exponentials" : "target",
                   " do not sum to 1 (the first of them sums to ", first_sum, "): it should hold ",
                   pair.log_target ? "log-probabilities" : "probabilities"));
}

}  // namespace

std::vector<std::string> HintsFor(const Pair& pair) {
  std::vector<std::string> hints;
  const Rows rows = RowsOf(pair.target.shape);
  if (rows.count == 0 || pair.target.shape.empty()) return hints;
  HintAtInput(pair, rows, hints);
  HintAtTarget(pair, rows, hints);
  if (pair.reduction == Reduction::kMean) {
    hints.push_back(pair.target.shape.size() == 1
                        ? "mean divides by the number of elements; the divergence is --reduction=sum"
                        : "mean divides by the number of elements; the divergence is --reduction=batchmean");
  }
  return hints;
}

}  // namespace kldiv::tool
