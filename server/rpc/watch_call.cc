#include "server/rpc/watch_call.h"

#include <utility>

#include "absl/status/statusor.h"
#include "server/rpc/status_texts.h"

namespace kldiv::server {
namespace {

class WatchCall final : public CallHandler {
 public:
  explicit WatchCall(std::shared_ptr<WatchState> state) : state_(std::move(state)) {}

  void OnMessage(std::optional<Message> message) override { state_->OnMessage(std::move(message)); }
  void OnWritten(bool ok) override { state_->OnWritten(ok); }
  void OnCancelled() override { state_->OnCancelled(); }
  void OnDone() override { state_->OnDone(); }

 private:
  const std::shared_ptr<WatchState> state_;
};

}  // namespace

WatchState::WatchState(ServiceContext& context, Call& call, Pass pass)
    : GateReader(call, ReaderKind::kProbe, std::move(pass.token)),
      context_(context),
      call_(call),
      health_(std::move(pass.health)),
      ticket_(std::move(pass.ticket)) {}

// Makes a change under the lock, then writes what is to be told or finishes the call, when it is time to.
template <class Change>
void WatchState::Update(Change change) {
  std::optional<absl::Status> end;
  {
    MutexLock lock(mu_);
    change();
    if (finished_ || writing_) return;
    if (end_.has_value()) {
      finished_ = true;
      end = *end_;
    } else if (service_.has_value()) {
      const HealthStatus now = HealthOf(*service_, context_.phase.load());
      if (told_ == now) return;
      told_ = now;
      writing_ = true;
      call_.Write(EncodeHealthCheckResponse(now));
    }
  }
  if (end.has_value()) call_.Finish(*end);
}

void WatchState::Start() {
  call_.NotifyOnCancel();
  context_.watchers.Add(shared_from_this());
  if (context_.AskToRead(*this, call_.started_at()) == ReadGate::Outcome::kRefused)
    End(TooManyWaiting(context_.admission.held_bytes(), context_.admission.max_bytes()));
}

void WatchState::OnMessage(std::optional<Message> message) {
  EndRead();
  absl::StatusOr<std::string> service = NoMessage();
  if (message.has_value()) service = DecodeHealthCheckRequest(message->slices());
  const int64_t bytes = message.has_value() ? static_cast<int64_t>(message->size()) : 0;
  message.reset();
  context_.gate.Release(*this, bytes, Clock::now());
  Update([&]() KLDIV_REQUIRES(mu_) {
    reading_ = false;
    if (end_.has_value()) return;
    if (service.ok()) {
      service_ = *std::move(service);
    } else {
      end_ = service.status();
    }
  });
}

void WatchState::OnWritten(bool ok) {
  Update([&]() KLDIV_REQUIRES(mu_) {
    writing_ = false;
    if (!ok && !end_.has_value()) end_ = absl::CancelledError("the watcher is gone");
  });
}

void WatchState::OnCancelled() { End(absl::CancelledError("cancelled")); }

void WatchState::OnDone() {
  context_.watchers.Remove(this);
  health_.reset();
  ticket_.reset();
  context_.BudgetReturned();
}

void WatchState::Tell() {
  Update([] {});
}

void WatchState::End(const absl::Status& status) {
  Update([&]() KLDIV_REQUIRES(mu_) {
    if (!end_.has_value()) end_ = status;
    // A read that is under way ends when the call does; one that waits need not begin.
    if (reading_) reading_ = !context_.gate.Forget(*this);
  });
}

void WatchState::OnReadLate(int strikes) {
  if (strikes > 1) return;  // It has been ended; its read is about to be.
  Count(context_.counters.read_timeouts);
  call_.Abort(ReadTimedOut(context_.options.read_timeout));
}

std::unique_ptr<CallHandler> StartWatchCall(ServiceContext& context, Call& call, Pass pass) {
  auto state = std::make_shared<WatchState>(context, call, std::move(pass));
  auto handler = std::make_unique<WatchCall>(state);
  state->Start();
  return handler;
}

}  // namespace kldiv::server
