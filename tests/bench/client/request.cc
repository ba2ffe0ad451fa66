#include "tests/bench/client/request.h"

#include <bit>
#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "kldiv/v1/kldiv.pb.h"
#include "proto/wire/encode.h"
#include "server/numerics/float_control.h"
#include "server/numerics/reduce.h"
#include "server/numerics/scalar.h"

namespace kldiv::bench {
namespace {

constexpr double kCloseEnough = 1e-5;

std::string Flatten(const wire::Parts& parts) {
  std::string bytes;
  bytes.reserve(parts.size());
  size_t copied = 0;
  for (const wire::Parts::Reference& reference : parts.references) {
    bytes.append(parts.owned, copied, reference.after - copied);
    bytes.append(reinterpret_cast<const char*>(reference.bytes.data()), reference.bytes.size());
    copied = reference.after;
  }
  return bytes.append(parts.owned, copied);
}

wire::Slice BytesOf(const std::vector<float>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)};
}

}  // namespace

Request::Request(Kind kind, int64_t elements, int pairs) : kind_(kind) {
  std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same data every time
  std::uniform_real_distribution<float> probability(1e-4F, 1.0F);
  for (int64_t i = 0; i < elements; ++i) {
    input_.push_back(std::log(probability(random)));
    target_.push_back(probability(random));
  }
  wire::Request request;
  request.input = {numerics::DType::kFp32, {&elements, 1}, BytesOf(input_)};
  request.target = {numerics::DType::kFp32, {&elements, 1}, BytesOf(target_)};
  request.reduction = wire::Reduction::kSum;
  const std::vector<wire::Request> requests(static_cast<size_t>(pairs), request);
  bytes_ = Flatten(kind == Kind::kEvaluateBatch ? wire::EncodeEvaluateBatchRequest(requests)
                                                : wire::EncodeEvaluateRequest(request));
}

const char* Request::path() const {
  switch (kind_) {
    case Kind::kEvaluateBatch:
      return "/kldiv.v1.KlDivergence/EvaluateBatch";
    case Kind::kEvaluateStream:
      return "/kldiv.v1.KlDivergence/EvaluateStream";
    case Kind::kEvaluate:
      break;
  }
  return "/kldiv.v1.KlDivergence/Evaluate";
}

double Request::Loss() const {
  numerics::ResetFloatControl();
  const auto elements = static_cast<int64_t>(input_.size());
  std::vector<double> sums(static_cast<size_t>(numerics::TileCount(elements)));
  const numerics::Formula formula{.input = numerics::DType::kFp32, .target = numerics::DType::kFp32};
  numerics::scalar::TileSums(formula, input_.data(), target_.data(), elements, sums.data());
  return numerics::scalar::Fold(sums.data(), static_cast<int64_t>(sums.size()));
}

AnswerCheck::AnswerCheck(const Request& request, int pairs, Verify verify)
    : kind_(request.kind()),
      pairs_(pairs),
      verify_(verify),
      expected_(verify == Verify::kStatus ? 0 : request.Loss()) {}

std::string AnswerCheck::CheckLoss(double loss) const {
  const bool right =
      verify_ == Verify::kStatus ||
      (verify_ == Verify::kBits ? std::bit_cast<uint64_t>(loss) == std::bit_cast<uint64_t>(expected_)
                                : std::abs(loss - expected_) <= kCloseEnough * std::abs(expected_));
  return right ? "" : absl::StrCat("the loss is ", loss, ", expected ", expected_);
}

std::string AnswerCheck::CheckMessage(std::string_view answer) const {
  const std::string bytes(answer);
  if (kind_ == Kind::kEvaluate) {
    v1::EvaluateResponse response;
    if (!response.ParseFromString(bytes) || !response.has_loss()) return "no EvaluateResponse with a loss";
    return CheckLoss(response.loss());
  }
  if (kind_ == Kind::kEvaluateStream) {
    v1::EvaluateResult result;
    if (!result.ParseFromString(bytes) || !result.response().has_loss())
      return "no EvaluateResult with a loss";
    return CheckLoss(result.response().loss());
  }
  v1::EvaluateBatchResponse response;
  if (!response.ParseFromString(bytes) || response.results_size() != pairs_)
    return "not a result for each pair";
  for (const v1::EvaluateResult& result : response.results()) {
    if (!result.response().has_loss()) return "a pair without a loss";
    if (std::string wrong = CheckLoss(result.response().loss()); !wrong.empty()) return wrong;
  }
  return "";
}

std::string AnswerCheck::Check(std::string_view answer) {
  if (!right_.empty()) return answer == right_ ? "" : "the answer differs from the first one";
  std::string wrong = CheckMessage(answer);
  if (wrong.empty()) right_ = answer;
  return wrong;
}

}  // namespace kldiv::bench
