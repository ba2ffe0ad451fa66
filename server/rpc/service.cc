#include "server/rpc/service.h"

#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/rpc/evaluate_call.h"
#include "server/rpc/info_calls.h"
#include "server/rpc/service_context.h"
#include "server/rpc/status_texts.h"
#include "server/rpc/stream_call.h"
#include "server/rpc/stream_state.h"
#include "server/rpc/watch_call.h"

namespace kldiv::server {
namespace {

// A stream whose token is gone has this long to answer what it accepted.
constexpr std::chrono::milliseconds kTokenCheckInterval{500};

bool IsHealth(Method method) { return method == Method::kHealthCheck || method == Method::kHealthWatch; }

// A call that was answered at its headers.
class EndedCall final : public CallHandler {
  void OnMessage(std::optional<Message>) override {}
  void OnWritten(bool) override {}
  void OnCancelled() override {}
  void OnDone() override {}
};

class EvaluationServiceImpl final : public EvaluationService {
 public:
  EvaluationServiceImpl(const ServiceOptions& options, Admission& admission, Batcher& batcher)
      : server_info_(EncodeServerInfo(options)), context_(options, admission, batcher) {}

  std::unique_ptr<CallHandler> OnCall(Call& call) override;

  void SetPhase(ServicePhase phase) override;
  void EndWatchers() override;
  bool Busy() const override { return OpenCalls() > 0; }
  bool Owes() const override { return OpenCalls() > context_.counters.unread_calls.load(); }
  Clock::duration Quiet(Clock::time_point now) const override { return now - last_call_.load(); }
  void Tick(Clock::time_point now) override;
  const ServiceCounters& counters() const override { return context_.counters; }
  ReadGrants::Usage read_grants() const override { return context_.gate.usage(); }

 private:
  int64_t OpenCalls() const;
  absl::StatusOr<Pass> LetIn(Call& call);
  void EndStreamsWithoutToken(Clock::time_point now);
  absl::Status ShedByLastMessage(const Call& call);
  std::unique_ptr<CallHandler> StartCall(Call& call, Pass pass);

  const std::string server_info_;
  std::atomic<Clock::time_point> last_call_ = Clock::now();
  Clock::time_point next_token_check_;  // the housekeeper's
  ServiceContext context_;
};

std::unique_ptr<CallHandler> EvaluationServiceImpl::OnCall(Call& call) {
  if (!IsHealth(call.method())) last_call_.store(call.started_at(), std::memory_order_relaxed);
  absl::StatusOr<Pass> pass = LetIn(call);
  if (pass.ok()) return StartCall(call, *std::move(pass));
  if (absl::IsResourceExhausted(pass.status())) {
    Count(context_.counters.shed_calls);
    call.Finish(pass.status(), RetryAfter());
  } else {
    call.Finish(pass.status());
  }
  return std::make_unique<EndedCall>();
}

// Decides by the headers alone.
absl::StatusOr<Pass> EvaluationServiceImpl::LetIn(Call& call) {
  const Method method = call.method();
  std::shared_ptr<const Token> token;
  if (context_.options.tokens != nullptr && !IsHealth(method)) {
    token = FindToken(context_.options.tokens->Get(), BearerToken(call.header("authorization")));
    if (token == nullptr) {
      Count(context_.counters.unauthenticated_calls);
      return NoValidToken();
    }
  }
  if (method == Method::kUnknown) return UnknownMethod(call.path());
  if (!IsHealth(method) && context_.refusing()) {
    Count(context_.counters.refused_calls);
    return Draining();
  }
  if (method == Method::kEvaluate || method == Method::kEvaluateBatch) {
    if (absl::Status shed = ShedByLastMessage(call); !shed.ok()) return shed;
  }
  if (IsHealth(method)) {
    std::optional<ClientQuota::Place> place = context_.health_calls.Take(PeerAddress(call.peer()));
    if (!place.has_value()) return TooManyHealthCalls();
    return Pass{std::nullopt, std::move(place), nullptr};
  }
  absl::StatusOr<Ticket> ticket = context_.admission.AdmitSmall(kCallBytes);
  if (!ticket.ok()) return ticket.status();
  return Pass{*std::move(ticket), std::nullopt, std::move(token)};
}

// A connection whose last message was large will send another one: when that would not fit it need not come.
absl::Status EvaluationServiceImpl::ShedByLastMessage(const Call& call) {
  const Admission& admission = context_.admission;
  const int64_t held = admission.held_bytes();
  // Not worth asking who it is while anything fits.
  if (held + context_.options.max_message_bytes + kCallBytes <= admission.max_bytes())
    return absl::OkStatus();
  const int64_t expected = context_.gate.LastSize(call);
  if (expected == 0 || held + expected + kCallBytes <= admission.max_bytes()) return absl::OkStatus();
  return QueueFull(held, admission.max_bytes(), expected);
}

std::unique_ptr<CallHandler> EvaluationServiceImpl::StartCall(Call& call, Pass pass) {
  if (!IsHealth(call.method())) Count(context_.counters.calls_started);
  switch (call.method()) {
    case Method::kEvaluate:
    case Method::kEvaluateBatch:
      return StartEvaluateCall(context_, call, std::move(pass));
    case Method::kEvaluateStream:
      return StartStreamCall(context_, call, std::move(pass));
    case Method::kGetServerInfo:
      return StartServerInfoCall(context_, call, std::move(pass), server_info_);
    case Method::kHealthCheck:
      return StartHealthCheckCall(context_, call, std::move(pass));
    case Method::kHealthWatch:
      return StartWatchCall(context_, call, std::move(pass));
    case Method::kUnknown:
      break;
  }
  return nullptr;
}

void EvaluationServiceImpl::SetPhase(ServicePhase phase) {
  context_.phase.store(phase);
  for (const auto& watcher : context_.watchers.All()) watcher->Tell();
  if (phase != ServicePhase::kRefusing) return;
  context_.gate.RefuseParkedCalls();
  for (const auto& stream : context_.streams.All()) stream->End(Draining());
}

void EvaluationServiceImpl::EndWatchers() {
  for (const auto& watcher : context_.watchers.All()) watcher->End(ShuttingDown());
}

int64_t EvaluationServiceImpl::OpenCalls() const {
  // Ended first: a call that comes and goes between the two reads makes it busy, not idle.
  const int64_t ended = context_.counters.calls_ended.load();
  return context_.counters.calls_started.load() - ended;
}

void EvaluationServiceImpl::Tick(Clock::time_point now) {
  context_.gate.Expire(now);
  for (const auto& [stream, reads] : context_.late_streams) stream->EndIdle(reads);
  context_.late_streams.clear();
  context_.waiting_streams.Feed();
  EndStreamsWithoutToken(now);
}

// Those whose token has been taken out of the file.
void EvaluationServiceImpl::EndStreamsWithoutToken(Clock::time_point now) {
  if (context_.options.tokens == nullptr || now < next_token_check_) return;
  next_token_check_ = now + kTokenCheckInterval;
  const std::shared_ptr<const TokenSet> tokens = context_.options.tokens->Get();
  for (const auto& stream : context_.streams.All()) {
    if (!tokens->Has(*stream->token())) stream->Revoke(NoValidToken());
  }
}

}  // namespace

std::unique_ptr<EvaluationService> EvaluationService::Create(const ServiceOptions& options,
                                                             Admission& admission, Batcher& batcher) {
  return std::make_unique<EvaluationServiceImpl>(options, admission, batcher);
}

}  // namespace kldiv::server
