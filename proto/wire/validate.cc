#include "proto/wire/validate.h"

#include <algorithm>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/numerics/formula.h"

namespace kldiv::wire {
namespace {

using numerics::DType;

absl::Status Fault(const std::string& text) { return absl::InvalidArgumentError(text); }

const char* Name(DType dtype) {
  switch (dtype) {
    case DType::kFp16:
      return "FP16";
    case DType::kBf16:
      return "BF16";
    case DType::kFp32:
      return "FP32";
    case DType::kFp64:
      return "FP64";
  }
  return "";
}

std::span<const int64_t> ShapeOf(const TensorFields& tensor) { return {tensor.shape, tensor.dimensions}; }

// As "[2, 3]"; a long shape ends in "...", so that two of them fit into a text.
std::string ShapeText(std::span<const int64_t> shape) {
  constexpr size_t kMaxLength = 72;
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    const std::string next = absl::StrCat(i == 0 ? "" : ", ", shape[i]);
    if (text.size() + next.size() > kMaxLength) {
      absl::StrAppend(&text, ", ...");
      break;
    }
    text += next;
  }
  return text + "]";
}

absl::Status CheckKnown(const RequestFields& fields) {
  if (fields.unknown_tag != 0) return Fault(UnknownFieldText(fields.unknown_tag, "EvaluateRequest"));
  if (fields.input.unknown_tag != 0) return Fault(UnknownFieldText(fields.input.unknown_tag, "Tensor input"));
  if (fields.target.unknown_tag != 0) {
    return Fault(UnknownFieldText(fields.target.unknown_tag, "Tensor target"));
  }
  return absl::OkStatus();
}

absl::Status BoolFault(const char* name, uint64_t value) {
  return Fault(absl::StrCat(name, " is the varint ", value, ", expected 0 or 1"));
}

absl::Status CheckOptions(const RequestFields& fields) {
  constexpr auto kLastReduction = static_cast<int32_t>(Reduction::kSum);
  if (fields.reduction < 0 || fields.reduction > kLastReduction) {
    return Fault(absl::StrCat("reduction is ", fields.reduction,
                              ", expected a value of kldiv.v1.Reduction: 0 to ", kLastReduction));
  }
  if (fields.log_target > 1) return BoolFault("log_target", fields.log_target);
  if (fields.zero_target < 0 || fields.zero_target > 1) {
    return Fault(absl::StrCat("zero_target is ", fields.zero_target,
                              ", expected a value of kldiv.v1.ZeroTarget: 0 or 1"));
  }
  if (fields.size_average > 1) return BoolFault("size_average", fields.size_average);
  if (fields.reduce > 1) return BoolFault("reduce", fields.reduce);
  if (fields.timeout_ns < 0) {
    return Fault(absl::StrCat("timeout_ns is ", fields.timeout_ns, ", expected 0 (none) or more"));
  }
  if (fields.want_timing > 1) return BoolFault("want_timing", fields.want_timing);
  return absl::OkStatus();
}

// Gives the number of elements and of their bytes. A dimension of 0 makes them 0, whatever the others are.
absl::Status CheckShape(const char* name, const TensorFields& tensor, DType dtype, int64_t* elements,
                        int64_t* bytes) {
  if (tensor.dimensions > kMaxDimensions) {
    return Fault(absl::StrCat(name, ".shape has ", tensor.dimensions, " dimensions, expected at most ",
                              kMaxDimensions));
  }
  int64_t product = 1;
  bool empty = false;
  bool overflow = false;
  const std::span<const int64_t> shape = ShapeOf(tensor);
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 0) {
      return Fault(absl::StrCat(name, ".shape[", i, "] is ", shape[i], ", expected 0 or more"));
    }
    if (shape[i] == 0) {
      empty = true;
    } else {
      overflow |= __builtin_mul_overflow(product, shape[i], &product);
    }
  }
  *elements = empty ? 0 : product;
  overflow |= __builtin_mul_overflow(product, int64_t{numerics::ElementSize(dtype)}, &product);
  if (overflow && !empty) {
    return Fault(absl::StrCat(name, ".shape is ", ShapeText(shape),
                              ": the product of the dimensions overflows, expected less than 2^63 bytes"));
  }
  *bytes = empty ? 0 : product;
  return absl::OkStatus();
}

absl::Status CheckTensor(const char* name, const TensorFields& tensor, DType* dtype, int64_t* elements) {
  if (!tensor.present) return Fault(absl::StrCat(name, " is missing, expected a Tensor"));
  if (tensor.dtype < static_cast<int32_t>(DType::kFp16) ||
      tensor.dtype > static_cast<int32_t>(DType::kFp64)) {
    return Fault(absl::StrCat(name, ".dtype is ", tensor.dtype, tensor.dtype == 0 ? " (unspecified)" : "",
                              ", expected 1 (FP16), 2 (BF16), 3 (FP32) or 4 (FP64)"));
  }
  *dtype = static_cast<DType>(tensor.dtype);
  int64_t expected = 0;
  if (auto status = CheckShape(name, tensor, *dtype, elements, &expected); !status.ok()) return status;
  if (tensor.data.size != static_cast<size_t>(expected)) {
    return Fault(absl::StrCat(name, ".data has ", tensor.data.size, " bytes, expected ", expected, ": shape ",
                              ShapeText(ShapeOf(tensor)), " of ", Name(*dtype)));
  }
  return absl::OkStatus();
}

absl::Status CheckShapesEqual(const TensorFields& input, const TensorFields& target) {
  const std::span<const int64_t> x = ShapeOf(input);
  const std::span<const int64_t> t = ShapeOf(target);
  if (std::equal(x.begin(), x.end(), t.begin(), t.end())) return absl::OkStatus();
  const auto differ = std::mismatch(x.begin(), x.end(), t.begin(), t.end());
  return Fault(absl::StrCat("target.shape is ", ShapeText(t), ", expected input.shape, ", ShapeText(x),
                            ": they differ from dimension ", differ.first - x.begin(), " on"));
}

// torch.nn.KLDivLoss: either legacy argument overrides `reduction`, and one that is missing counts as true.
Reduction ReductionOf(const RequestFields& fields) {
  if (fields.has_size_average || fields.has_reduce) {
    if (fields.has_reduce && fields.reduce == 0) return Reduction::kNone;
    return fields.has_size_average && fields.size_average == 0 ? Reduction::kSum : Reduction::kMean;
  }
  return fields.reduction == 0 ? Reduction::kMean : static_cast<Reduction>(fields.reduction);
}

absl::Status FillPair(const RequestFields& fields, Pair& pair) {
  if (auto status = CheckKnown(fields); !status.ok()) return status;
  if (auto status = CheckOptions(fields); !status.ok()) return status;
  int64_t target_elements = 0;
  if (auto status = CheckTensor("input", fields.input, &pair.formula.input, &pair.elements); !status.ok()) {
    return status;
  }
  if (auto status = CheckTensor("target", fields.target, &pair.formula.target, &target_elements);
      !status.ok()) {
    return status;
  }
  if (auto status = CheckShapesEqual(fields.input, fields.target); !status.ok()) return status;
  pair.formula.log_target = fields.log_target != 0;
  pair.formula.skip_zero_target = fields.zero_target != 0;
  pair.input = fields.input.data;
  pair.target = fields.target.data;
  return absl::OkStatus();
}

}  // namespace

void Validate(const RequestFields& fields, PairRequest& pair) {
  pair.request_id = fields.request_id;
  pair.status = FillPair(fields, pair.pair);
  if (!pair.status.ok()) return;
  const std::span<const int64_t> shape = ShapeOf(fields.input);
  pair.shape.assign(shape.begin(), shape.end());
  pair.reduction = ReductionOf(fields);
  pair.want_timing = fields.want_timing != 0;
  pair.timeout_ns = fields.timeout_ns;
}

std::string UnknownFieldText(uint32_t tag, std::string_view message) {
  return absl::StrCat("field ", FieldNumber(tag), " is not known to this server (", KLDIV_VERSION,
                      "): ", absl::string_view(message.data(), message.size()), " has it, with wire type ",
                      tag & 7);
}

}  // namespace kldiv::wire
