#include "server/rpc/stream_state.h"

#include <algorithm>
#include <utility>

#include "server/rpc/read_grants.h"
#include "server/rpc/status_texts.h"

namespace kldiv::server {

// A pair on its way through the lanes.
class StreamState::PairTask final : public Task {
 public:
  PairTask(std::shared_ptr<StreamState> stream, std::unique_ptr<Evaluation> pair, Ticket pair_ticket)
      : Task(1, stream->flow_),
        evaluation(std::move(pair)),
        ticket(std::move(pair_ticket)),
        stream_(std::move(stream)) {}

  void Done(std::unique_ptr<Task> self) override {
    stream_->TaskDone(*this);
    self.reset();
  }

  const std::unique_ptr<Evaluation> evaluation;
  Ticket ticket;

 private:
  const std::shared_ptr<StreamState> stream_;
};

StreamState::StreamState(ServiceContext& context, Call& call, Pass pass)
    : GateReader(call, ReaderKind::kStream, std::move(pass.token)),
      context_(context),
      call_(call),
      deadline_(call.deadline()),
      ticket_(std::move(pass.ticket)) {}

template <class Change>
void StreamState::Update(Change change) {
  std::optional<absl::Status> end;
  {
    MutexLock lock(mu_);
    change();
    end = Advance();
  }
  if (end.has_value()) call_.Finish(*end);
}

void StreamState::Start() {
  call_.NotifyOnCancel();
  context_.streams.Add(shared_from_this());
  // A drain that began meanwhile may not have seen this one.
  if (context_.refusing()) return End(Draining());
  Update([] {});
}

void StreamState::OnMessage(std::optional<Message> message) {
  EndRead();
  received_at_ = Clock::now();
  last_message_bytes_ = message.has_value() ? static_cast<int64_t>(message->size()) : 0;
  Count(context_.counters.message_bytes, last_message_bytes_);
  bool serve = false;
  Update([&]() KLDIV_REQUIRES(mu_) {
    serve = message.has_value() && !ending_;
    read_state_ = ReadState::kMessage;
    if (serve) return;
    message.reset();
    DropHeld();
    BeginEnd(absl::OkStatus());  // Half-closed, unless there was another reason before.
  });
  if (!serve) return;
  if (last_message_bytes_ <= kPollingThreadBytes) return Receive(*std::move(message));
  undecoded_ = *std::move(message);
  context_.worker.Run([self = shared_from_this()] { self->Receive(std::move(self->undecoded_)); });
}

void StreamState::Receive(Message message) {
  held_ = std::make_unique<Evaluation>();
  const absl::Status decoded =
      held_->DecodePair(std::move(message), {received_at_, received_at_, deadline_}, true);
  if (!decoded.ok()) {
    Count(context_.counters.invalid_pairs);
    return Update([&]() KLDIV_REQUIRES(mu_) {
      DropHeld();
      BeginEnd(decoded);
    });
  }
  if (!held_->pair_fault().ok()) {
    Count(context_.counters.invalid_pairs);
    held_->FailPair(held_->pair_fault());
  }
  AdmitHeld();
}

// A ticket for held_, which becomes an error if it can never have one. RESOURCE_EXHAUSTED: no room now.
absl::StatusOr<Ticket> StreamState::TryAdmit() {
  expected_bytes_.store(held_->queue_bytes());
  absl::StatusOr<Ticket> ticket =
      context_.Admit(held_->queue_bytes(), last_message_bytes_ <= kSmallMessageBytes);
  if (ticket.ok() || absl::IsResourceExhausted(ticket.status())) return ticket;
  Count(context_.counters.invalid_pairs);
  held_->FailPair(ticket.status());
  expected_bytes_.store(held_->queue_bytes());
  return context_.Admit(held_->queue_bytes(), true);
}

void StreamState::AdmitHeld() {
  absl::StatusOr<Ticket> ticket = TryAdmit();
  if (ticket.ok()) return Accept(*std::move(ticket));
  Update([&]() KLDIV_REQUIRES(mu_) {
    if (ending_) return DropHeld();
    read_state_ =
        ReadState::kNoBudget;  // With its grant: what gRPC holds is not charged to anybody else yet.
    context_.waiting_streams.Join(shared_from_this());
  });
}

bool StreamState::OnBudget() {
  bool waits = false;
  bool admit = false;
  Update([&]() KLDIV_REQUIRES(mu_) {
    if (read_state_ != ReadState::kNoBudget) return;
    admit = held_ != nullptr;
    waits = !admit && !HasRoomToRead();
    if (!waits) read_state_ = admit ? ReadState::kMessage : ReadState::kNone;
  });
  if (!admit) return !waits;
  absl::StatusOr<Ticket> ticket = TryAdmit();
  if (ticket.ok()) {
    Accept(*std::move(ticket));
    return true;
  }
  Update([&]() KLDIV_REQUIRES(mu_) {
    if (ending_) return DropHeld();
    read_state_ = ReadState::kNoBudget;
    waits = true;
  });
  return !waits;
}

// held_ has got its ticket: it is computed here, or enqueued.
void StreamState::Accept(Ticket ticket) {
  bool accepted = false;
  Update([&]() KLDIV_REQUIRES(mu_) {
    if (ending_) return DropHeld();
    ++in_flight_;
    accepted = true;
  });
  if (!accepted) return;
  std::unique_ptr<Evaluation> evaluation = std::move(held_);
  context_.gate.Release(*this, last_message_bytes_, received_at_);  // Charged to the queue from here on.
  const auto valid_pairs = static_cast<int64_t>(evaluation->valid_pairs());
  Count(context_.counters.admitted_pairs, valid_pairs);
  evaluation->Admitted();
  if (valid_pairs > 0 && !IsInline(context_, evaluation->tiles())) {
    return Enqueue(std::move(evaluation), std::move(ticket));
  }
  CountOutcome(context_.counters, *evaluation, ComputeOnArrival(context_, *evaluation));
  Update([&]() KLDIV_REQUIRES(mu_) {
    results_.push_back({evaluation->TakeResult(), std::move(ticket)});
    read_state_ = ReadState::kNone;
  });
}

void StreamState::Enqueue(std::unique_ptr<Evaluation> evaluation, Ticket ticket) {
  if (flow_.empty()) flow_ = ClientName();
  Evaluation& pair = *evaluation;
  auto task = std::make_unique<PairTask>(shared_from_this(), std::move(evaluation), std::move(ticket));
  pair.FillTask(*task);
  Update([&]() KLDIV_REQUIRES(mu_) {
    tasks_.insert(task.get());
    if (cancelled_) task->Cancel();
    read_state_ = ReadState::kNone;
  });
  context_.batcher.Enqueue(std::move(task));
}

// On a lane's thread.
void StreamState::TaskDone(PairTask& task) {
  CountOutcome(context_.counters, *task.evaluation, task.evaluation->TakeResults(task));
  Answer answer = task.evaluation->TakeResult();
  Update([&]() KLDIV_REQUIRES(mu_) {
    tasks_.erase(&task);
    results_.push_back({std::move(answer), std::move(task.ticket)});
  });
}

void StreamState::OnWritten(bool ok) {
  Update([&]() KLDIV_REQUIRES(mu_) {
    writing_.reset();
    --in_flight_;
    if (!ok) Drop();
  });
  context_.BudgetReturned();
}

void StreamState::OnCancelled() {
  Update([&]() KLDIV_REQUIRES(mu_) { Drop(); });
  context_.BudgetReturned();
}

void StreamState::OnDone() {
  context_.streams.Remove(this);
  ticket_.reset();
  Count(context_.counters.calls_ended);
  context_.BudgetReturned();
}

void StreamState::End(const absl::Status& status) {
  Update([&]() KLDIV_REQUIRES(mu_) { BeginEnd(status); });
}

void StreamState::Revoke(const absl::Status& status) {
  Update([&]() KLDIV_REQUIRES(mu_) {
    if (finished_) return;
    BeginEnd(status);
    if (std::exchange(revoked_, true)) call_.Abort(status);
  });
}

void StreamState::EndIdle(uint32_t reads) {
  Update([&]() KLDIV_REQUIRES(mu_) {
    if (ending_ || read_state_ != ReadState::kAsked || reads_.load() != reads) return;
    Count(context_.counters.idle_streams);
    BeginEnd(IdleStream(context_.options.read_timeout));
  });
}

// With the gate's lock held, which keeps the read under way and so the call alive.
void StreamState::OnReadLate(int strikes) {
  if (strikes == 1) {
    context_.late_streams.emplace_back(shared_from_this(), reads_.load());
  } else if (finishing_.load()) {
    call_.Abort(IdleStream(context_.options.read_timeout));  // Its status has not ended the read.
  }
}

std::optional<absl::Status> StreamState::Advance() {
  if (finished_) return std::nullopt;
  WriteNext();
  ReadNext();
  if (!ending_ || in_flight_ > 0 || read_state_ == ReadState::kMessage) return std::nullopt;
  finished_ = true;
  finishing_.store(true);
  return end_;
}

void StreamState::WriteNext() {
  if (cancelled_) {
    in_flight_ -= static_cast<int>(results_.size());
    results_.clear();
  }
  if (writing_.has_value() || results_.empty()) return;
  Result& result = results_.front();
  writing_.emplace(std::move(result.ticket));
  call_.Write(std::move(result.answer));
  results_.pop_front();
}

void StreamState::ReadNext() {
  if (ending_ || read_state_ != ReadState::kNone) return;
  if (in_flight_ >= context_.options.max_in_flight_per_stream) return;
  if (!HasRoomToRead()) {
    read_state_ = ReadState::kNoBudget;
    context_.waiting_streams.Join(shared_from_this());
    return;
  }
  read_state_ = ReadState::kAsked;
  reads_.fetch_add(1);
  if (context_.AskToRead(*this, Clock::now()) != ReadGate::Outcome::kRefused) return;
  read_state_ = ReadState::kNone;
  BeginEnd(TooManyWaiting(context_.admission.held_bytes(), context_.admission.max_bytes()));
}

// What came last tells what will come next; without room for that it need not be read yet.
bool StreamState::HasRoomToRead() const {
  return context_.admission.held_bytes() + std::max(expected_bytes_.load(), kPairBytes) <=
         context_.admission.max_bytes();
}

void StreamState::BeginEnd(const absl::Status& status) {
  if (ending_) return;
  ending_ = true;
  end_ = status;
  if (read_state_ == ReadState::kNoBudget) DropHeld();
  // A read that is under way ends when the call does.
  if (read_state_ == ReadState::kAsked && context_.gate.Forget(*this)) read_state_ = ReadState::kNone;
}

// Nobody is there any more.
void StreamState::Drop() {
  BeginEnd(CancelledBeforeComputing());
  cancelled_ = true;
  for (Task* task : tasks_) task->Cancel();
}

// Gives up the message that was read, and its grant.
void StreamState::DropHeld() {
  held_.reset();
  read_state_ = ReadState::kNone;
  context_.gate.Release(*this, last_message_bytes_, received_at_);
}

}  // namespace kldiv::server
