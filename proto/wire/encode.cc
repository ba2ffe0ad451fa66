#include "proto/wire/encode.h"

#include <string_view>

#include "proto/wire/text.h"
#include "proto/wire/writer.h"

// A message inside another is written after its length: so each message has two functions, one for the length
// of its fields and one that writes them, in the order and with the omissions of the generated serializer.
namespace kldiv::wire {
namespace {

uint64_t Number(int64_t value) { return static_cast<uint64_t>(value); }

// A Tensor.

size_t PackedLength(std::span<const int64_t> shape) {
  size_t length = 0;
  for (const int64_t size : shape) length += VarintLength(Number(size));
  return length;
}

size_t TensorLength(const RequestTensor& tensor) {
  return VarintFieldLength(1, static_cast<uint64_t>(tensor.dtype)) +
         (tensor.shape.empty() ? 0 : BytesFieldLength(2, PackedLength(tensor.shape))) +
         BytesFieldLength(3, tensor.data.size());
}

void WriteTensor(uint32_t number, const RequestTensor& tensor, size_t tag, Writer& writer) {
  writer.BytesHeader(number, TensorLength(tensor));
  writer.VarintField(1, static_cast<uint64_t>(tensor.dtype));
  if (!tensor.shape.empty()) {
    writer.BytesHeader(2, PackedLength(tensor.shape));
    for (const int64_t size : tensor.shape) writer.Varint(Number(size));
  }
  writer.BytesHeader(3, tensor.data.size());
  writer.Reference(tensor.data, tag);
}

// A Timing.

size_t TimingLength(const Timing& timing) {
  return VarintFieldLength(1, Number(timing.queue_ns)) + VarintFieldLength(2, Number(timing.compute_ns)) +
         VarintFieldLength(3, Number(timing.total_ns)) + VarintFieldLength(4, Number(timing.batch_pairs));
}

void WriteTiming(uint32_t number, const Timing& timing, Writer& writer) {
  writer.BytesHeader(number, TimingLength(timing));
  writer.VarintField(1, Number(timing.queue_ns));
  writer.VarintField(2, Number(timing.compute_ns));
  writer.VarintField(3, Number(timing.total_ns));
  writer.VarintField(4, Number(timing.batch_pairs));
}

// The fields of an EvaluateResponse.

RequestTensor PointwiseOf(const PairAnswer& answer) {
  return {answer.pointwise_dtype, answer.shape, answer.pointwise};
}

size_t ResponseLength(const PairAnswer& answer) {
  return VarintFieldLength(1, answer.request_id) +
         (answer.none ? BytesFieldLength(3, TensorLength(PointwiseOf(answer))) : DoubleFieldLength(2)) +
         VarintFieldLength(4, Number(answer.element_count)) +
         (answer.timing ? BytesFieldLength(5, TimingLength(*answer.timing)) : 0);
}

void WriteResponse(const PairAnswer& answer, Writer& writer) {
  writer.VarintField(1, answer.request_id);
  if (answer.none) {
    WriteTensor(3, PointwiseOf(answer), answer.tag, writer);
  } else {
    writer.DoubleField(2, answer.loss);
  }
  writer.VarintField(4, Number(answer.element_count));
  if (answer.timing) WriteTiming(5, *answer.timing, writer);
}

// The fields of an Error.

std::string ErrorMessage(const PairAnswer& answer) {
  const absl::string_view message = answer.status.message();
  return ValidUtf8({message.data(), message.size()}, kMaxErrorMessageBytes);
}

size_t ErrorLength(const PairAnswer& answer) {
  const std::string message = ErrorMessage(answer);
  return VarintFieldLength(1, static_cast<uint64_t>(answer.status.code())) +
         (message.empty() ? 0 : BytesFieldLength(2, message.size())) +
         VarintFieldLength(4, Number(answer.retry_after_ms));
}

void WriteError(const PairAnswer& answer, Writer& writer) {
  const std::string message = ErrorMessage(answer);
  writer.VarintField(1, static_cast<uint64_t>(answer.status.code()));
  if (!message.empty()) {
    writer.BytesHeader(2, message.size());
    writer.Bytes(message);
  }
  writer.VarintField(4, Number(answer.retry_after_ms));
}

// The fields of an EvaluateResult.

size_t ResultLength(const PairAnswer& answer) {
  return (answer.status.ok() ? BytesFieldLength(1, ResponseLength(answer))
                             : BytesFieldLength(2, ErrorLength(answer))) +
         VarintFieldLength(3, answer.request_id);
}

void WriteResult(const PairAnswer& answer, Writer& writer) {
  if (answer.status.ok()) {
    writer.BytesHeader(1, ResponseLength(answer));
    WriteResponse(answer, writer);
  } else {
    writer.BytesHeader(2, ErrorLength(answer));
    WriteError(answer, writer);
  }
  writer.VarintField(3, answer.request_id);
}

// Bytes of the answer that are not written but referenced.
size_t ReferencedBytes(const PairAnswer& answer) {
  return answer.status.ok() && answer.none ? answer.pointwise.size() : 0;
}

// The fields of an EvaluateRequest.

size_t RequestLength(const Request& request) {
  return VarintFieldLength(1, request.request_id) + BytesFieldLength(2, TensorLength(request.input)) +
         BytesFieldLength(3, TensorLength(request.target)) +
         VarintFieldLength(4, static_cast<uint64_t>(request.reduction)) +
         VarintFieldLength(5, request.log_target) + VarintFieldLength(6, request.skip_zero_target) +
         VarintFieldLength(100, Number(request.timeout_ns)) + VarintFieldLength(101, request.want_timing);
}

void WriteRequest(const Request& request, size_t index, Writer& writer) {
  writer.VarintField(1, request.request_id);
  WriteTensor(2, request.input, 2 * index, writer);
  WriteTensor(3, request.target, 2 * index + 1, writer);
  writer.VarintField(4, static_cast<uint64_t>(request.reduction));
  writer.VarintField(5, request.log_target);
  writer.VarintField(6, request.skip_zero_target);  // ZERO_TARGET_SKIP is 1
  writer.VarintField(100, Number(request.timeout_ns));
  writer.VarintField(101, request.want_timing);
}

size_t ReferencedBytes(const Request& request) {
  return request.input.data.size() + request.target.data.size();
}

}  // namespace

size_t Parts::size() const {
  size_t bytes = owned.size();
  for (const Reference& reference : references) bytes += reference.bytes.size();
  return bytes;
}

Parts EncodeEvaluateResponse(const PairAnswer& answer) {
  Parts parts;
  Writer writer(ResponseLength(answer) - ReferencedBytes(answer), parts);
  WriteResponse(answer, writer);
  return parts;
}

Parts EncodeEvaluateResult(const PairAnswer& answer) {
  Parts parts;
  Writer writer(ResultLength(answer) - ReferencedBytes(answer), parts);
  WriteResult(answer, writer);
  return parts;
}

Parts EncodeEvaluateBatchResponse(std::span<const PairAnswer> answers) {
  size_t owned_bytes = 0;
  for (const PairAnswer& answer : answers) {
    owned_bytes += BytesFieldLength(1, ResultLength(answer)) - ReferencedBytes(answer);
  }
  Parts parts;
  Writer writer(owned_bytes, parts);
  for (const PairAnswer& answer : answers) {
    writer.BytesHeader(1, ResultLength(answer));
    WriteResult(answer, writer);
  }
  return parts;
}

Parts EncodeEvaluateRequest(const Request& request) {
  Parts parts;
  parts.references.reserve(2);
  Writer writer(RequestLength(request) - ReferencedBytes(request), parts);
  WriteRequest(request, 0, writer);
  return parts;
}

Parts EncodeEvaluateBatchRequest(std::span<const Request> requests) {
  size_t owned_bytes = 0;
  for (const Request& request : requests) {
    owned_bytes += BytesFieldLength(1, RequestLength(request)) - ReferencedBytes(request);
  }
  Parts parts;
  parts.references.reserve(2 * requests.size());
  Writer writer(owned_bytes, parts);
  for (size_t i = 0; i < requests.size(); ++i) {
    writer.BytesHeader(1, RequestLength(requests[i]));
    WriteRequest(requests[i], i, writer);
  }
  return parts;
}

}  // namespace kldiv::wire
