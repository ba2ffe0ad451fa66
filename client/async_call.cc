#include "client/async_call.h"

#include <utility>

#include "client/grpc_status.h"
#include "client/messages.h"

namespace kldiv::internal {

AsyncCall::AsyncCall(AsyncCalls& calls, Connection& connection, const grpc::internal::RpcMethod& method,
                     wire::Parts message, Deadline deadline, Done done)
    : calls_(calls),
      connection_(connection),
      method_(method),
      message_(std::move(message)),
      deadline_(deadline),
      done_(std::move(done)) {}

void AsyncCall::Start() {
  calls_.Add(this);
  if (connection_.KnowsLimitFor(static_cast<int64_t>(message_.size()))) {
    StartMethod();
  } else {
    StartCall(Step::kLearning, connection_.get_server_info(), wire::Parts{});
  }
}

void AsyncCall::Cancel() {
  const std::lock_guard lock(mu_);
  cancelled_ = true;
  if (context_.has_value()) context_->TryCancel();
}

void AsyncCall::StartMethod() {
  absl::Status status = connection_.CheckAgainstLimit(static_cast<int64_t>(message_.size()));
  if (!status.ok()) return Complete(std::move(status));
  StartCall(Step::kCalling, method_, message_);
}

void AsyncCall::StartCall(Step step, const grpc::internal::RpcMethod& method, const wire::Parts& message) {
  const std::lock_guard lock(mu_);
  step_ = step;
  grpc::ClientContext& context = context_.emplace();
  context.set_deadline(deadline_);
  Connection::Authorize(connection_.Authorization(), context);
  reader_.reset(grpc::internal::ClientAsyncResponseReaderHelper::Create<grpc::ByteBuffer>(
      connection_.channel(), &connection_.completion_thread().queue(), method, &context,
      ToByteBuffer(message, memory_)));
  if (cancelled_) context.TryCancel();
  reader_->StartCall();
  reader_->Finish(&response_, &status_, static_cast<CompletionTag*>(this));
}

absl::Status AsyncCall::EndCall() {
  absl::Status status = TakeStatus();
  connection_.CallEnded(status);
  return status;
}

absl::Status AsyncCall::TakeStatus() {
  // The lock also keeps this object alive until the thread that started the call has left StartCall.
  const std::lock_guard lock(mu_);
  absl::Status status = FromGrpcStatus(status_, *context_);
  // Both may hold on to the request's slices. The reader lives in the context's call.
  reader_.reset();
  context_.reset();
  return status;
}

void AsyncCall::Proceed(bool) {
  switch (step_) {
    case Step::kLearning:
      return FinishLearning();
    case Step::kCalling:
      return FinishCalling();
    case Step::kReturning:
      return Complete(std::move(result_));
  }
}

void AsyncCall::FinishLearning() {
  if (absl::Status status = EndCall(); !status.ok()) return Complete(std::move(status));
  const absl::StatusOr<ServerInfo> info = ParseServerInfo(response_);
  if (!info.ok()) return Complete(info.status());
  connection_.LearnLimit(*info);
  response_.Clear();
  StartMethod();
}

void AsyncCall::FinishCalling() {
  result_ = EndCall();
  if (memory_.all_returned()) return Complete(std::move(result_));
  step_ = Step::kReturning;
  memory_.OnceReturned([this] {
    alarm_.emplace().Set(&connection_.completion_thread().queue(), gpr_now(GPR_CLOCK_MONOTONIC),
                         static_cast<CompletionTag*>(this));
  });
}

void AsyncCall::Complete(absl::Status status) {
  const Done done = std::move(done_);
  grpc::ByteBuffer response;
  response.Swap(&response_);
  AsyncCalls& calls = calls_;
  calls.Remove(this);
  delete this;
  done(std::move(status), response);
  calls.CalledBack();
}

AsyncCalls::~AsyncCalls() {
  std::unique_lock lock(mu_);
  for (AsyncCall* const call : calls_) call->Cancel();
  all_called_back_.wait(lock, [this] { return not_called_back_ == 0; });
}

void AsyncCalls::Add(AsyncCall* call) {
  const std::lock_guard lock(mu_);
  calls_.insert(call);
  ++not_called_back_;
}

void AsyncCalls::Remove(AsyncCall* call) {
  const std::lock_guard lock(mu_);
  calls_.erase(call);
}

void AsyncCalls::CalledBack() {
  const std::lock_guard lock(mu_);
  // Under the lock: the destructor may go on as soon as it is released.
  if (--not_called_back_ == 0) all_called_back_.notify_all();
}

}  // namespace kldiv::internal
