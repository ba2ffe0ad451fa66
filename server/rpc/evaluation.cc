#include "server/rpc/evaluation.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "server/batching/admission.h"
#include "server/lanes/evaluate.h"
#include "server/numerics/float_control.h"
#include "server/numerics/reduce.h"
#include "server/rpc/status_texts.h"

namespace kldiv::server {
namespace {

using numerics::TileCount;

int64_t Nanoseconds(Clock::duration duration) { return std::chrono::nanoseconds(duration).count(); }

int64_t PointwiseBytes(const wire::PairRequest& request) {
  if (request.reduction != wire::Reduction::kNone) return 0;
  return request.pair.elements * numerics::ElementSize(request.pair.formula.output());
}

// What the sum is divided by.
int64_t Divisor(const wire::PairRequest& request) {
  switch (request.reduction) {
    case wire::Reduction::kMean:
      return request.pair.elements;
    case wire::Reduction::kBatchMean:
      return request.shape.empty() ? 1 : request.shape[0];
    case wire::Reduction::kNone:
    case wire::Reduction::kSum:
      break;
  }
  return 1;
}

// Any thread may compute: the transport's, a lane that has just returned budget, the housekeeper.
void ResetFloatControlOnce() {
  thread_local const bool done = (numerics::ResetFloatControl(), true);
  static_cast<void>(done);
}

}  // namespace

absl::Status Evaluation::DecodePair(Message message, const EvaluationTimes& times, bool pair_timeouts) {
  message_ = std::move(message);
  absl::StatusOr<wire::PairRequest> request = wire::DecodeEvaluateRequest(message_.slices());
  if (!request.ok()) return std::move(request).status();
  pair_ = *std::move(request);
  Examine({&pair_, 1}, times, pair_timeouts);
  return absl::OkStatus();
}

absl::Status Evaluation::DecodeBatch(Message message, const EvaluationTimes& times, int64_t max_pairs) {
  message_ = std::move(message);
  absl::StatusOr<std::vector<wire::PairRequest>> requests =
      wire::DecodeEvaluateBatchRequest(message_.slices(), max_pairs);
  if (!requests.ok()) return std::move(requests).status();
  batch_ = *std::move(requests);
  Examine(batch_, times, true);
  return absl::OkStatus();
}

void Evaluation::Examine(std::span<wire::PairRequest> requests, const EvaluationTimes& times,
                         bool pair_timeouts) {
  times_ = times;
  pair_timeouts_ = pair_timeouts;
  requests_ = requests;
  for (const wire::PairRequest& request : requests) {
    if (!request.status.ok()) {
      charge_ += kPairBytes;
      continue;
    }
    ++valid_pairs_;
    tiles_ += std::max<int64_t>(1, TileCount(request.pair.elements));
    charge_ += PairCharge(request.pair.elements);
    pointwise_bytes_ += PointwiseBytes(request);
    want_timing_ = want_timing_ || request.want_timing;
  }
  charge_ += pointwise_bytes_;
}

void Evaluation::FailPair(absl::Status fault) {
  assert(batch_.empty() && !fault.ok());
  pair_.status = std::move(fault);
  DropMessage();
  valid_pairs_ = 0;
  tiles_ = 0;
  charge_ = kPairBytes;
  pointwise_bytes_ = 0;
}

void Evaluation::Admitted() {
  if (want_timing_) admitted_at_ = Clock::now();
  // Not make_unique: it would write zeros over what is about to be written.
  if (pointwise_bytes_ > 0) pointwise_.reset(new uint8_t[static_cast<size_t>(pointwise_bytes_)]);
}

Clock::time_point Evaluation::DeadlineOf(const wire::PairRequest& request) const {
  if (request.timeout_ns == 0 || !pair_timeouts_) return times_.deadline;
  const std::chrono::nanoseconds timeout(request.timeout_ns);
  if (timeout >= Clock::time_point::max() - times_.received) return times_.deadline;
  return std::min(times_.received + timeout, times_.deadline);
}

// Answers with what is known of each pair before it is computed.
void Evaluation::BeginAnswers() {
  if (batch_.empty()) {
    answers_ = {&answer_, requests_.size()};
  } else {
    batch_answers_.resize(batch_.size());
    answers_ = batch_answers_;
  }
  const uint8_t* pointwise = pointwise_.get();
  for (size_t i = 0; i < requests_.size(); ++i) {
    const wire::PairRequest& request = requests_[i];
    wire::PairAnswer& answer = answers_[i];
    answer.request_id = request.request_id;
    if (!request.status.ok()) {
      answer.status = request.status;
      continue;
    }
    answer.element_count = request.pair.elements;
    if (request.want_timing) answer.timing.emplace();
    if (request.reduction != wire::Reduction::kNone) continue;
    answer.none = true;
    answer.pointwise_dtype = request.pair.formula.output();
    answer.shape = request.shape;
    answer.pointwise = {pointwise, static_cast<size_t>(PointwiseBytes(request))};
    pointwise += PointwiseBytes(request);
  }
}

void Evaluation::EndAnswer(const wire::PairRequest& request, wire::PairAnswer& answer, double sum) const {
  if (answer.none) return;
  answer.loss = request.reduction == wire::Reduction::kSum ? sum : numerics::Divide(sum, Divisor(request));
}

PairTally Evaluation::ComputeHere() {
  ResetFloatControlOnce();
  BeginAnswers();
  PairTally tally;
  for (size_t i = 0; i < requests_.size(); ++i) {
    const wire::PairRequest& request = requests_[i];
    wire::PairAnswer& answer = answers_[i];
    if (!request.status.ok()) continue;
    const Clock::time_point deadline = DeadlineOf(request);
    const bool timed = answer.timing.has_value();
    const Clock::time_point start =
        timed || deadline != Clock::time_point::max() ? Clock::now() : Clock::time_point::min();
    if (start >= deadline) {
      answer.status = ExpiredBeforeComputing();
      ++tally.expired;
      continue;
    }
    double sum = 0;
    if (!answer.none) {
      sum = EvaluateSum(request.pair);
    } else if (request.pair.elements > 0) {
      const LanePair lane{&request.pair, nullptr, const_cast<uint8_t*>(answer.pointwise.data())};
      EvaluatePiece({&lane, 0, TileCount(request.pair.elements)});
    }
    EndAnswer(request, answer, sum);
    if (timed) {
      answer.timing->queue_ns = Nanoseconds(start - admitted_at_);
      answer.timing->compute_ns = Nanoseconds(Clock::now() - start);
      answer.timing->batch_pairs = static_cast<int32_t>(valid_pairs_);
    }
  }
  DropMessage();
  return tally;
}

void Evaluation::FillTask(Task& task) {
  assert(task.pairs().size() == valid_pairs_);
  size_t filled = 0;
  uint8_t* pointwise = pointwise_.get();
  for (const wire::PairRequest& request : requests_) {
    if (!request.status.ok()) continue;
    TaskPair& pair = task.pairs()[filled++];
    pair.lane.pair = &request.pair;
    pair.deadline = DeadlineOf(request);
    if (request.reduction != wire::Reduction::kNone) continue;
    pair.lane.pointwise = pointwise;
    pointwise += PointwiseBytes(request);
  }
}

PairTally Evaluation::TakeResults(Task& task) {
  DropMessage();
  BeginAnswers();
  PairTally tally;
  size_t taken = 0;
  for (size_t i = 0; i < requests_.size(); ++i) {
    const wire::PairRequest& request = requests_[i];
    wire::PairAnswer& answer = answers_[i];
    if (!request.status.ok()) continue;
    TaskPair& pair = task.pairs()[taken++];
    if (!pair.status.ok()) {
      tally.expired += absl::IsDeadlineExceeded(pair.status);
      tally.cancelled += absl::IsCancelled(pair.status);
      answer.status = std::move(pair.status);
      continue;
    }
    EndAnswer(request, answer, pair.sum);
    if (answer.timing.has_value()) answer.timing = {pair.queue_ns, pair.compute_ns, 0, pair.batch_pairs};
  }
  return tally;
}

void Evaluation::StampTotals() {
  if (!want_timing_) return;
  const int64_t total_ns = Nanoseconds(Clock::now() - times_.began);
  for (wire::PairAnswer& answer : answers_) {
    if (answer.timing.has_value()) answer.timing->total_ns = total_ns;
  }
}

Answer Evaluation::WithPointwise(wire::Parts parts) {
  Answer answer{std::move(parts), {}};
  if (pointwise_ != nullptr) answer.memory.push_back(std::move(pointwise_));
  return answer;
}

absl::StatusOr<Answer> Evaluation::TakeResponse() {
  if (!answer_.status.ok()) return answer_.status;
  StampTotals();
  return WithPointwise(wire::EncodeEvaluateResponse(answer_));
}

Answer Evaluation::TakeResult() {
  StampTotals();
  return WithPointwise(wire::EncodeEvaluateResult(answer_));
}

Answer Evaluation::TakeBatchResponse() {
  StampTotals();
  return WithPointwise(wire::EncodeEvaluateBatchResponse(answers_));
}

}  // namespace kldiv::server
