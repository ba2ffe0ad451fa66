#include "client/messages.h"

#include <google/protobuf/io/coded_stream.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <climits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/grpc_status.h"
#include "kldiv/v1/kldiv.pb.h"

namespace kldiv::internal {
namespace {

wire::RequestTensor ToWire(const Tensor& tensor) {
  return {.dtype = static_cast<numerics::DType>(tensor.dtype),
          .shape = tensor.shape,
          .data = {reinterpret_cast<const uint8_t*>(tensor.data.data()), tensor.data.size()}};
}

wire::Request ToWire(const Pair& pair, uint64_t request_id, int64_t timeout_ns) {
  return {.request_id = request_id,
          .input = ToWire(pair.input),
          .target = ToWire(pair.target),
          .reduction = static_cast<wire::Reduction>(pair.reduction),
          .log_target = pair.log_target,
          .skip_zero_target = pair.zero_target == ZeroTarget::kSkip,
          .timeout_ns = pair.timeout.has_value() ? pair.timeout->count() : timeout_ns,
          .want_timing = pair.want_timing};
}

absl::Status NotA(const char* name) {
  return absl::InternalError(absl::StrCat("the server's answer is not a ", name));
}

template <typename Message>
bool Parse(grpc::ByteBuffer& bytes, Message& message) {
  grpc::Slice whole;
  if (bytes.Length() > INT_MAX) return false;  // More than a protobuf message can be.
  if (bytes.TrySingleSlice(&whole).ok()) {
    return message.ParseFromArray(whole.begin(), static_cast<int>(whole.size()));
  }
  grpc::ProtoBufferReader reader(&bytes);
  return reader.status().ok() && message.ParseFromZeroCopyStream(&reader) && reader.status().ok();
}

// Takes the pointwise bytes out of `response`.
absl::StatusOr<Evaluation> ToEvaluation(v1::EvaluateResponse& response) {
  Evaluation evaluation;
  evaluation.element_count = response.element_count();
  if (response.has_loss()) evaluation.loss = response.loss();
  if (response.has_pointwise()) {
    v1::Tensor& tensor = *response.mutable_pointwise();
    if (tensor.dtype() < v1::DATA_TYPE_FP16 || tensor.dtype() > v1::DATA_TYPE_FP64) {
      return absl::InternalError(absl::StrCat("the server's answer has a pointwise tensor of dtype ",
                                              static_cast<int>(tensor.dtype()), ", expected 1 to 4"));
    }
    Pointwise& pointwise = evaluation.pointwise.emplace();
    pointwise.dtype = static_cast<DType>(tensor.dtype());
    pointwise.shape.assign(tensor.shape().begin(), tensor.shape().end());
    pointwise.data = std::move(*tensor.mutable_data());
  }
  if (evaluation.loss.has_value() == evaluation.pointwise.has_value()) {
    return absl::InternalError("the server's answer has not exactly one of loss and pointwise");
  }
  if (response.has_timing()) {
    const v1::Timing& timing = response.timing();
    evaluation.timing = {.queue = std::chrono::nanoseconds(timing.queue_ns()),
                         .compute = std::chrono::nanoseconds(timing.compute_ns()),
                         .total = std::chrono::nanoseconds(timing.total_ns()),
                         .batch_pairs = timing.batch_pairs()};
  }
  return evaluation;
}

absl::StatusOr<Evaluation> ToEvaluation(v1::EvaluateResult& result) {
  if (result.has_response()) return ToEvaluation(*result.mutable_response());
  if (!result.has_error() || result.error().code() == 0) {
    return absl::InternalError("the server's answer has neither a response nor an error");
  }
  absl::Status status(static_cast<absl::StatusCode>(result.error().code()), result.error().message());
  SetRetryAfter(result.error().retry_after_ms(), status);
  return status;
}

}  // namespace

wire::Parts EncodePair(const Pair& pair, uint64_t request_id, int64_t timeout_ns) {
  return wire::EncodeEvaluateRequest(ToWire(pair, request_id, timeout_ns));
}

wire::Parts EncodePairs(std::span<const Pair> pairs) {
  std::vector<wire::Request> requests;
  requests.reserve(pairs.size());
  for (size_t i = 0; i < pairs.size(); ++i) requests.push_back(ToWire(pairs[i], i, 0));
  return wire::EncodeEvaluateBatchRequest(requests);
}

grpc::ByteBuffer ToByteBuffer(const wire::Parts& parts, LentMemory& memory) {
  std::vector<grpc::Slice> slices;
  slices.reserve(2 * parts.references.size() + 1);
  size_t copied = 0;
  const auto copy_until = [&](size_t end) {
    if (end > copied) slices.emplace_back(parts.owned.data() + copied, end - copied);
    copied = end;
  };
  for (const wire::Parts::Reference& reference : parts.references) {
    copy_until(reference.after);
    if (!reference.bytes.empty()) slices.push_back(memory.Lend(reference.bytes));
  }
  copy_until(parts.owned.size());
  return grpc::ByteBuffer(slices.data(), slices.size());
}

grpc::ByteBuffer CopyToByteBuffer(const wire::Parts& parts) {
  grpc_slice bytes = grpc_slice_malloc(parts.size());
  uint8_t* to = GRPC_SLICE_START_PTR(bytes);
  size_t copied = 0;
  const auto copy_until = [&](size_t end) {
    to = std::copy_n(parts.owned.data() + copied, end - copied, to);
    copied = end;
  };
  for (const wire::Parts::Reference& reference : parts.references) {
    copy_until(reference.after);
    to = std::copy_n(reference.bytes.data(), reference.bytes.size(), to);
  }
  copy_until(parts.owned.size());
  const grpc::Slice slice(bytes, grpc::Slice::STEAL_REF);
  return grpc::ByteBuffer(&slice, 1);
}

absl::StatusOr<Evaluation> ParseEvaluateResponse(grpc::ByteBuffer& message) {
  v1::EvaluateResponse response;
  if (!Parse(message, response)) return NotA("kldiv.v1.EvaluateResponse");
  return ToEvaluation(response);
}

absl::StatusOr<std::vector<absl::StatusOr<Evaluation>>> ParseEvaluateBatchResponse(grpc::ByteBuffer& message,
                                                                                   size_t pairs) {
  v1::EvaluateBatchResponse response;
  if (!Parse(message, response)) return NotA("kldiv.v1.EvaluateBatchResponse");
  if (static_cast<size_t>(response.results_size()) != pairs) {
    return absl::InternalError(
        absl::StrCat("the server's answer has ", response.results_size(), " results for ", pairs, " pairs"));
  }
  std::vector<absl::StatusOr<Evaluation>> evaluations;
  evaluations.reserve(pairs);
  for (v1::EvaluateResult& result : *response.mutable_results()) evaluations.push_back(ToEvaluation(result));
  return evaluations;
}

absl::StatusOr<StreamResult> ParseEvaluateResult(grpc::ByteBuffer& message) {
  v1::EvaluateResult result;
  if (!Parse(message, result)) return NotA("kldiv.v1.EvaluateResult");
  return StreamResult{.request_id = result.request_id(), .evaluation = ToEvaluation(result)};
}

absl::StatusOr<ServerInfo> ParseServerInfo(grpc::ByteBuffer& message) {
  v1::GetServerInfoResponse response;
  if (!Parse(message, response)) return NotA("kldiv.v1.GetServerInfoResponse");
  return ServerInfo{.version = response.version(),
                    .backend = response.backend(),
                    .devices = {response.devices().begin(), response.devices().end()},
                    .max_message_bytes = response.max_message_bytes(),
                    .max_queue_bytes = response.max_queue_bytes(),
                    .numerics_version = response.numerics_version(),
                    .max_pairs_per_message = response.max_pairs_per_message(),
                    .max_dimensions = response.max_dimensions(),
                    .max_in_flight_per_stream = response.max_in_flight_per_stream(),
                    .features = {response.features().begin(), response.features().end()}};
}

absl::StatusOr<Health> ParseHealth(grpc::ByteBuffer& message) {
  // grpc.health.v1.HealthCheckResponse has one field, the status, number 1; SERVING is 1.
  constexpr uint32_t kStatusTag = 1 << 3;
  grpc::ProtoBufferReader reader(&message);
  google::protobuf::io::CodedInputStream stream(&reader);
  uint64_t status = 0;
  while (const uint32_t tag = stream.ReadTag()) {
    if (tag != kStatusTag || !stream.ReadVarint64(&status)) return NotA("grpc.health.v1.HealthCheckResponse");
  }
  return status == 1 ? Health::kServing : Health::kNotServing;
}

}  // namespace kldiv::internal
