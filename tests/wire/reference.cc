#include "tests/wire/reference.h"

#include <google/protobuf/unknown_field_set.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kldiv/v1/kldiv.pb.h"
#include "raw_request.pb.h"
#include "tests/wire/wire_bytes.h"

namespace kldiv::wire::testing {
namespace {

template <typename Message>
bool Parse(std::string_view bytes, Message* message) {
  return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

// How the text about the first unknown field below 100 begins; empty: there is none.
template <typename Message>
std::string UnknownField(const Message& message, const char* where) {
  const auto& fields = Message::GetReflection()->GetUnknownFields(message);
  for (int i = 0; i < fields.field_count(); ++i) {
    const int number = fields.field(i).number();
    if (number < 100) {
      return absl::StrCat("field ", number, " is not known to this server (", KLDIV_VERSION, "): ", where,
                          " ");
    }
  }
  return "";
}

int ElementSize(v1::DataType dtype) {
  return dtype == v1::DATA_TYPE_FP64 ? 8 : dtype == v1::DATA_TYPE_FP32 ? 4 : 2;
}

__extension__ using Int128 = __int128;

std::string TensorFault(const char* name, bool present, const v1::Tensor& tensor) {
  if (!present) return absl::StrCat(name, " is missing");
  if (tensor.dtype() == v1::DATA_TYPE_UNSPECIFIED || !v1::DataType_IsValid(tensor.dtype())) {
    return absl::StrCat(name, ".dtype is ", static_cast<int>(tensor.dtype()),
                        tensor.dtype() == 0 ? " (" : ",");
  }
  if (tensor.shape_size() > 64) return absl::StrCat(name, ".shape has ", tensor.shape_size(), " dimensions");
  Int128 bytes = ElementSize(tensor.dtype());
  bool overflow = false;
  for (int i = 0; i < tensor.shape_size(); ++i) {
    if (tensor.shape(i) < 0) return absl::StrCat(name, ".shape[", i, "] is ", tensor.shape(i));
  }
  for (const int64_t size : tensor.shape()) {
    if (size == 0) continue;
    if (!overflow) bytes *= size;
    overflow = overflow || bytes > INT64_MAX;
  }
  if (std::count(tensor.shape().begin(), tensor.shape().end(), 0) > 0) {
    bytes = 0;
    overflow = false;
  }
  if (overflow) return absl::StrCat(name, ".shape is [");
  if (bytes != static_cast<Int128>(tensor.data().size())) {
    return absl::StrCat(name, ".data has ", tensor.data().size(), " bytes, expected ",
                        static_cast<int64_t>(bytes));
  }
  return "";
}

std::string Fault(const v1::EvaluateRequest& request, const RawRequest& raw) {
  if (auto text = UnknownField(request, "EvaluateRequest"); !text.empty()) return text;
  if (auto text = UnknownField(request.input(), "Tensor input"); !text.empty()) return text;
  if (auto text = UnknownField(request.target(), "Tensor target"); !text.empty()) return text;
  if (!v1::Reduction_IsValid(request.reduction()))
    return absl::StrCat("reduction is ", int{request.reduction()});
  if (raw.log_target() > 1) return absl::StrCat("log_target is the varint ", raw.log_target());
  if (!v1::ZeroTarget_IsValid(request.zero_target())) {
    return absl::StrCat("zero_target is ", int{request.zero_target()});
  }
  if (raw.size_average() > 1) return absl::StrCat("size_average is the varint ", raw.size_average());
  if (raw.reduce() > 1) return absl::StrCat("reduce is the varint ", raw.reduce());
  if (request.timeout_ns() < 0) return absl::StrCat("timeout_ns is ", request.timeout_ns());
  if (raw.want_timing() > 1) return absl::StrCat("want_timing is the varint ", raw.want_timing());
  if (auto text = TensorFault("input", request.has_input(), request.input()); !text.empty()) return text;
  if (auto text = TensorFault("target", request.has_target(), request.target()); !text.empty()) return text;
  const auto& x = request.input().shape();
  const auto& t = request.target().shape();
  if (!std::equal(x.begin(), x.end(), t.begin(), t.end())) return "target.shape is [";
  return "";
}

// The accessors of the legacy arguments are marked deprecated.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
Reduction ReductionOf(const v1::EvaluateRequest& request) {
  if (request.has_size_average() || request.has_reduce()) {
    const bool size_average = !request.has_size_average() || request.size_average();
    const bool reduce = !request.has_reduce() || request.reduce();
    return !reduce ? Reduction::kNone : size_average ? Reduction::kMean : Reduction::kSum;
  }
  return request.reduction() == v1::REDUCTION_UNSPECIFIED ? Reduction::kMean
                                                          : static_cast<Reduction>(request.reduction());
}
#pragma GCC diagnostic pop

ExpectedPair Expect(const v1::EvaluateRequest& request, const RawRequest& raw) {
  ExpectedPair pair;
  pair.request_id = request.request_id();
  pair.fault = Fault(request, raw);
  if (!pair.fault.empty()) return pair;
  pair.formula = {.input = static_cast<numerics::DType>(request.input().dtype()),
                  .target = static_cast<numerics::DType>(request.target().dtype()),
                  .log_target = request.log_target(),
                  .skip_zero_target = request.zero_target() == v1::ZERO_TARGET_SKIP};
  pair.shape.assign(request.input().shape().begin(), request.input().shape().end());
  pair.elements = static_cast<int64_t>(request.input().data().size()) / ElementSize(request.input().dtype());
  pair.input = request.input().data();
  pair.target = request.target().data();
  pair.reduction = ReductionOf(request);
  pair.want_timing = request.want_timing();
  pair.timeout_ns = request.timeout_ns();
  return pair;
}

std::string DifferenceOfPairs(const PairRequest& got, const ExpectedPair& expected) {
  if (got.request_id != expected.request_id) return "request_id";
  if (!expected.fault.empty()) {
    if (got.status.code() != absl::StatusCode::kInvalidArgument) {
      return absl::StrCat("status ", got.status.ToString(), " for ", expected.fault);
    }
    if (!absl::StartsWith(got.status.message(), expected.fault)) {
      return absl::StrCat("text '", got.status.message(), "' for '", expected.fault, "'");
    }
    return got.status.message().size() > 250 ? "a text of over 250 bytes" : "";
  }
  if (!got.status.ok()) return absl::StrCat("status of a valid pair: ", got.status.ToString());
  if (got.pair.formula != expected.formula) return "formula";
  if (!std::equal(got.shape.begin(), got.shape.end(), expected.shape.begin(), expected.shape.end()))
    return "shape";
  if (got.pair.elements != expected.elements) return "elements";
  if (BytesOf(got.pair.input) != expected.input) return "input";
  if (BytesOf(got.pair.target) != expected.target) return "target";
  if (got.reduction != expected.reduction) return "reduction";
  if (got.want_timing != expected.want_timing) return "want_timing";
  if (got.timeout_ns != expected.timeout_ns) return "timeout_ns";
  return "";
}

// Of the answers as a whole.
std::string DifferenceOfStatus(const absl::Status& got, bool expected_ok) {
  if (expected_ok) return got.ok() ? "" : absl::StrCat("refused what is right: ", got.ToString());
  if (got.code() != absl::StatusCode::kInvalidArgument) return absl::StrCat("accepted: ", got.ToString());
  return got.message().size() > 250 ? "a text of over 250 bytes" : "";
}

}  // namespace

std::optional<ExpectedPair> ExpectEvaluateRequest(std::string_view bytes) {
  v1::EvaluateRequest request;
  RawRequest raw;
  if (!Parse(bytes, &request) || !Parse(bytes, &raw)) return std::nullopt;
  return Expect(request, raw);
}

std::optional<std::vector<ExpectedPair>> ExpectEvaluateBatchRequest(std::string_view bytes,
                                                                    int64_t max_pairs) {
  v1::EvaluateBatchRequest batch;
  RawBatchRequest raw;
  if (!Parse(bytes, &batch) || !Parse(bytes, &raw)) return std::nullopt;
  if (batch.requests_size() > max_pairs || !UnknownField(batch, "").empty()) return std::nullopt;
  std::vector<ExpectedPair> pairs;
  for (int i = 0; i < batch.requests_size(); ++i) pairs.push_back(Expect(batch.requests(i), raw.requests(i)));
  return pairs;
}

bool ExpectGetServerInfoRequest(std::string_view bytes) {
  v1::GetServerInfoRequest request;
  return Parse(bytes, &request);
}

std::string Difference(const absl::StatusOr<PairRequest>& got, const std::optional<ExpectedPair>& expected) {
  if (auto text = DifferenceOfStatus(got.status(), expected.has_value()); !text.empty() || !got.ok())
    return text;
  return DifferenceOfPairs(*got, *expected);
}

std::string Difference(const absl::StatusOr<std::vector<PairRequest>>& got,
                       const std::optional<std::vector<ExpectedPair>>& expected) {
  if (auto text = DifferenceOfStatus(got.status(), expected.has_value()); !text.empty() || !got.ok())
    return text;
  if (got->size() != expected->size()) {
    return absl::StrCat(got->size(), " pairs instead of ", expected->size());
  }
  for (size_t i = 0; i < got->size(); ++i) {
    if (auto text = DifferenceOfPairs((*got)[i], (*expected)[i]); !text.empty()) {
      return absl::StrCat("pair ", i, ": ", text);
    }
  }
  return "";
}

}  // namespace kldiv::wire::testing
