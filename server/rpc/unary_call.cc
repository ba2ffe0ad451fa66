#include "server/rpc/unary_call.h"

#include <utility>

#include "server/rpc/status_texts.h"

namespace kldiv::server {

UnaryCall::UnaryCall(ServiceContext& context, Call& call, Pass pass, ReaderKind kind)
    : GateReader(call, kind, std::move(pass.token)),
      context_(context),
      call_(call),
      kind_(kind),
      deadline_(call.deadline()),
      health_(std::move(pass.health)),
      ticket_(std::move(pass.ticket)) {}

void UnaryCall::Start() {
  if (kind_ == ReaderKind::kCall) SetUnread(true);
  switch (context_.AskToRead(*this, call_.started_at())) {
    case ReadGate::Outcome::kReading:
      return;
    case ReadGate::Outcome::kParked:
      // A drain that began meanwhile has looked for parked calls already.
      if (kind_ == ReaderKind::kCall && context_.refusing() && context_.gate.Forget(*this)) OnReadRefused();
      return;
    case ReadGate::Outcome::kRefused:
      Count(context_.counters.shed_calls);
      ticket_.reset();  // A burst of refusals must not hold what it was refused for.
      return call_.Finish(TooManyWaiting(context_.admission.held_bytes(), context_.admission.max_bytes()),
                          RetryAfter());
  }
}

void UnaryCall::OnMessage(std::optional<Message> message) {
  EndRead();
  received_at_ = Clock::now();
  if (!message.has_value()) {
    ReleaseGate(0);
    Count(context_.counters.lost_messages);
    // Seen only by a client that half-closed without a message: everybody else is gone or has a status
    // already.
    return call_.Finish(context_.refusing() ? Draining() : NoMessage());
  }
  SetUnread(false);
  Count(context_.counters.message_bytes, static_cast<int64_t>(message->size()));
  Serve(*std::move(message));
}

void UnaryCall::OnCancelled() {
  cancelled_.store(true);
  if (!context_.gate.Forget(*this)) return Cancelled();  // What comes of its message or its task ends it.
  Count(context_.counters.lost_messages);
  const bool expired = Clock::now() >= deadline_;
  call_.Finish(expired ? ExpiredBeforeComputing() : CancelledBeforeComputing());
}

void UnaryCall::OnReadLate(int strikes) {
  if (strikes > 1) return;  // It has been ended; its read is about to be.
  Count(context_.counters.read_timeouts);
  call_.Abort(ReadTimedOut(context_.options.read_timeout));
}

void UnaryCall::OnReadRefused() {
  Count(context_.counters.refused_calls);
  call_.Finish(Draining());
}

void UnaryCall::WatchCancel() {
  if (!std::exchange(watches_cancel_, true)) call_.NotifyOnCancel();
}

void UnaryCall::SetUnread(bool unread) {
  if (unread_ == unread) return;
  unread_ = unread;
  Count(context_.counters.unread_calls, unread ? 1 : -1);
}

void UnaryCall::OnDone() {
  SetUnread(false);
  if (kind_ == ReaderKind::kCall) Count(context_.counters.calls_ended);
  health_.reset();
  ticket_.reset();
  context_.BudgetReturned();
}

}  // namespace kldiv::server
