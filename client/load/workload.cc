#include "client/load/workload.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/load/random_data.h"
#include "client/tool/local_evaluation.h"
#include "server/lanes/cpu_count.h"

namespace kldiv::load {
namespace {

constexpr int64_t kMaxElements = int64_t{1} << 31;  // more is no message

// The product of the dimensions; none when there are more than kMaxElements.
std::optional<int64_t> Elements(std::span<const int64_t> shape) {
  int64_t elements = 1;
  for (const int64_t dimension : shape) {
    if (dimension == 0) return 0;
    if (dimension > kMaxElements / elements) return std::nullopt;
    elements *= dimension;
  }
  return elements;
}

// Mixes an index into bits without a pattern: the finalizer of SplitMix64.
uint64_t Mix(uint64_t bits) {
  bits += 0x9e3779b97f4a7c15;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  return bits ^ (bits >> 31);
}

absl::StatusOr<ShapeWeight> ParseShape(absl::string_view text) {
  ShapeWeight result;
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  if (text.find(':') != absl::string_view::npos && (!absl::SimpleAtod(parts.second, &result.weight) ||
                                                    !(result.weight > 0) || !std::isfinite(result.weight))) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", parts.second, "\" is not a weight, a number over 0"));
  }
  for (const absl::string_view word : absl::StrSplit(parts.first, 'x')) {
    int64_t dimension = 0;
    if (!absl::SimpleAtoi(word, &dimension) || dimension < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", parts.first, "\" is not a shape such as 32x1000 or 1000"));
    }
    result.shape.push_back(dimension);
  }
  if (!Elements(result.shape).has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", parts.first, "\" has more than 2^31 elements"));
  }
  return result;
}

}  // namespace

absl::StatusOr<std::vector<ShapeWeight>> ParseShapes(const std::string& text) {
  std::vector<ShapeWeight> shapes;
  for (const absl::string_view word : absl::StrSplit(text, ',')) {
    absl::StatusOr<ShapeWeight> shape = ParseShape(word);
    if (!shape.ok()) return shape.status();
    shapes.push_back(*std::move(shape));
  }
  return shapes;
}

absl::StatusOr<std::unique_ptr<Workload>> Workload::Create(WorkloadOptions options) {
  auto workload = std::unique_ptr<Workload>(new Workload(std::move(options)));
  const bool from_files = !workload->options_.input_path.empty();
  if (absl::Status status = from_files ? workload->OpenFiles() : workload->Generate(); !status.ok())
    return status;
  if (workload->options_.verify) {
    for (Item& item : workload->items_) workload->Solve(item);
  }
  return workload;
}

absl::Status Workload::OpenFiles() {
  absl::StatusOr<npy::File> input = npy::File::Open(options_.input_path);
  if (!input.ok()) return input.status();
  absl::StatusOr<npy::File> target = npy::File::Open(options_.target_path);
  if (!target.ok()) return target.status();
  if (input->array().shape != target->array().shape) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the shapes differ: ", options_.input_path, " is [", absl::StrJoin(input->array().shape, ", "), "], ",
        options_.target_path, " is [", absl::StrJoin(target->array().shape, ", "), "]"));
  }
  input_file_.emplace(*std::move(input));
  target_file_.emplace(*std::move(target));
  options_.shapes = {{.shape = input_file_->array().shape, .weight = 1}};
  options_.dtype = input_file_->array().dtype;
  AddItem(input_file_->array().tensor(), target_file_->array().tensor(), input_file_->array().elements);
  pools_ = {{.until = 1, .first = 0, .size = 1}};
  return absl::OkStatus();
}

absl::Status Workload::Generate() {
  std::mt19937_64 random(options_.seed);
  double weights = 0;
  for (const ShapeWeight& shape : options_.shapes) weights += shape.weight;
  double until = 0;
  for (const ShapeWeight& shape : options_.shapes) {
    const int64_t elements = Elements(shape.shape).value_or(0);
    const int64_t bytes = 2 * elements * npy::ElementSize(options_.dtype);
    const int64_t pairs = std::clamp<int64_t>(kMaxPoolBytes / std::max<int64_t>(bytes, 1), 1, kPairsPerShape);
    until += shape.weight / weights;
    pools_.push_back({.until = until, .first = items_.size(), .size = static_cast<size_t>(pairs)});
    for (int64_t i = 0; i < pairs; ++i) {
      const auto add = [&](bool logarithms) {
        memory_.push_back(RandomDistributions(random, options_.dtype, shape.shape, elements, logarithms));
        return Tensor(options_.dtype, shape.shape, memory_.back());
      };
      const Tensor input = add(true);
      const Tensor target = add(options_.log_target);
      AddItem(input, target, elements);
    }
  }
  return absl::OkStatus();
}

void Workload::AddItem(const Tensor& input, const Tensor& target, int64_t elements) {
  Item& item = items_.emplace_back();
  item.pair.input = input;
  item.pair.target = target;
  item.pair.reduction = options_.reduction;
  item.pair.log_target = options_.log_target;
  item.pair.want_timing = options_.want_timing;
  item.elements = elements;
  item.bytes = static_cast<int64_t>(input.data.size() + target.data.size());
}

void Workload::Solve(Item& item) const {
  const tool::LocalPair local = tool::ToLocal(item.pair, item.elements);
  const int threads = server::AvailableCpus();
  if (item.pair.reduction != Reduction::kNone) {
    const double loss = tool::Reduce(tool::SumLosses(local, threads), item.pair, item.elements);
    item.loss_bits = std::bit_cast<uint64_t>(loss);
    return;
  }
  item.pointwise_dtype = static_cast<DType>(local.formula.output());
  item.pointwise.resize(static_cast<size_t>(item.elements * npy::ElementSize(item.pointwise_dtype)));
  tool::ComputeLosses(local, threads, std::as_writable_bytes(std::span(item.pointwise)));
}

const Item& Workload::At(uint64_t index) const {
  const uint64_t chance = Mix(options_.seed ^ Mix(index));
  const double share = static_cast<double>(chance >> 11) * 0x1p-53;
  const auto found = std::find_if(pools_.begin(), pools_.end() - 1,
                                  [share](const Pool& pool) { return share < pool.until; });
  return items_[found->first + Mix(chance) % found->size];
}

bool Workload::IsRight(const Item& item, const Evaluation& evaluation) const {
  if (!options_.verify) return true;
  if (item.pair.reduction != Reduction::kNone) {
    return evaluation.loss.has_value() && std::bit_cast<uint64_t>(*evaluation.loss) == item.loss_bits &&
           evaluation.element_count == item.elements;
  }
  return evaluation.pointwise.has_value() && evaluation.pointwise->dtype == item.pointwise_dtype &&
         std::equal(evaluation.pointwise->shape.begin(), evaluation.pointwise->shape.end(),
                    item.pair.input.shape.begin(), item.pair.input.shape.end()) &&
         evaluation.pointwise->data == item.pointwise;
}

}  // namespace kldiv::load
