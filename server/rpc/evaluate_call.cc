#include "server/rpc/evaluate_call.h"

#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "server/batching/task.h"
#include "server/rpc/evaluation.h"
#include "server/rpc/read_grants.h"
#include "server/rpc/status_texts.h"
#include "server/rpc/unary_call.h"

namespace kldiv::server {
namespace {

// Evaluate and EvaluateBatch: admitted or shed whole, computed here or by the lanes, one answer.
class EvaluateCall final : public UnaryCall {
 public:
  EvaluateCall(ServiceContext& context, Call& call, Pass pass)
      : UnaryCall(context, call, std::move(pass)), is_batch_(call.method() == Method::kEvaluateBatch) {}

  void OnDone() override {
    work_ticket_.reset();
    UnaryCall::OnDone();
  }

 private:
  class PairsTask final : public Task {
   public:
    PairsTask(EvaluateCall& call, size_t pairs, std::string flow)
        : Task(pairs, std::move(flow)), call_(call) {}
    void Done(std::unique_ptr<Task> self) override { call_.TaskDone(std::move(self)); }

   private:
    EvaluateCall& call_;
  };

  void Serve(Message message) override;
  void Cancelled() override;
  void Evaluate(Message message);
  absl::Status Decode(Message message);
  void End(const absl::Status& status);
  void Enqueue();
  void TaskDone(std::unique_ptr<Task> task);
  void FinishWithAnswer(const PairTally& tally);

  const bool is_batch_;
  Message undecoded_;  // on its way to the worker
  Evaluation evaluation_;
  std::optional<Ticket> work_ticket_;  // of the message, its pairs and its answer
  std::atomic<Task*> task_ = nullptr;  // set once
  std::unique_ptr<Task> done_task_;    // kept so that a late cancel finds it
};

void EvaluateCall::Serve(Message message) {
  if (static_cast<int64_t>(message.size()) <= kPollingThreadBytes) return Evaluate(std::move(message));
  WatchCancel();
  undecoded_ = std::move(message);
  context_.worker.Run([this] { Evaluate(std::move(undecoded_)); });
}

absl::Status EvaluateCall::Decode(Message message) {
  const EvaluationTimes times{call_.started_at(), received_at(), deadline()};
  if (is_batch_) {
    return evaluation_.DecodeBatch(std::move(message), times, context_.options.max_pairs_per_message);
  }
  const absl::Status status = evaluation_.DecodePair(std::move(message), times, false);
  call_.SetRequestId(evaluation_.request_id());
  return status.ok() ? evaluation_.pair_fault() : status;
}

void EvaluateCall::Evaluate(Message message) {
  const auto bytes = static_cast<int64_t>(message.size());
  if (absl::Status status = Decode(std::move(message)); !status.ok()) {
    evaluation_.DropMessage();
    ReleaseGate(bytes);
    Count(context_.counters.invalid_pairs);
    return call_.Finish(status);
  }
  absl::StatusOr<Ticket> ticket = context_.Admit(evaluation_.queue_bytes(), bytes <= kSmallMessageBytes);
  if (!ticket.ok()) {
    evaluation_.DropMessage();
    ReleaseGate(bytes);
    return End(ticket.status());
  }
  work_ticket_.emplace(*std::move(ticket));
  ReleaseGate(bytes);  // What was read is charged to the queue from here on.
  const auto valid_pairs = static_cast<int64_t>(evaluation_.valid_pairs());
  Count(context_.counters.admitted_pairs, valid_pairs);
  Count(context_.counters.invalid_pairs, static_cast<int64_t>(evaluation_.pairs()) - valid_pairs);
  evaluation_.Admitted();
  if (valid_pairs == 0 || IsInline(context_, evaluation_.tiles()))
    return FinishWithAnswer(ComputeOnArrival(context_, evaluation_));
  Enqueue();
}

// A refusal by admission.
void EvaluateCall::End(const absl::Status& status) {
  if (!absl::IsResourceExhausted(status)) {
    Count(context_.counters.invalid_pairs);
    return call_.Finish(status);
  }
  Count(context_.counters.shed_calls);
  call_.Finish(status, RetryAfter());
}

void EvaluateCall::Enqueue() {
  WatchCancel();
  auto task = std::make_unique<PairsTask>(*this, evaluation_.valid_pairs(), ClientName());
  evaluation_.FillTask(*task);
  task_.store(task.get());
  if (cancelled()) task->Cancel();
  context_.batcher.Enqueue(std::move(task));
}

void EvaluateCall::Cancelled() {
  if (Task* const task = task_.load()) task->Cancel();
}

// On a lane's thread.
void EvaluateCall::TaskDone(std::unique_ptr<Task> task) {
  done_task_ = std::move(task);
  FinishWithAnswer(evaluation_.TakeResults(*done_task_));
}

void EvaluateCall::FinishWithAnswer(const PairTally& tally) {
  CountOutcome(context_.counters, evaluation_, tally);
  if (!is_batch_) {
    absl::StatusOr<Answer> answer = evaluation_.TakeResponse();
    return answer.ok() ? call_.Finish(*std::move(answer)) : call_.Finish(answer.status());
  }
  if (tally.cancelled > 0) return call_.Finish(CancelledBeforeComputing());
  if (tally.expired > 0 && Clock::now() >= deadline()) return call_.Finish(ExpiredBeforeComputing());
  call_.Finish(evaluation_.TakeBatchResponse());
}

}  // namespace

std::unique_ptr<CallHandler> StartEvaluateCall(ServiceContext& context, Call& call, Pass pass) {
  auto handler = std::make_unique<EvaluateCall>(context, call, std::move(pass));
  handler->Start();
  return handler;
}

}  // namespace kldiv::server
