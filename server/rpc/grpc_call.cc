#include "server/rpc/grpc_call.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/failed_call_log.h"
#include "server/rpc/grpc_message.h"

namespace kldiv::server {
namespace {

using SteadyClock = std::chrono::steady_clock;

grpc_slice SliceOf(std::string_view text) { return grpc_slice_from_copied_buffer(text.data(), text.size()); }

std::string_view ViewOf(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)), GRPC_SLICE_LENGTH(slice)};
}

// What may not be let in.
absl::Status FaultOf(grpc_byte_buffer& message, int64_t max_bytes) {
  // Never inflated: 1.5 MB of gzip may be 1.6 GB of zeros.
  if (IsCompressed(message))
    return absl::UnimplementedError("compressed messages are not supported: send with identity encoding");
  const auto bytes = static_cast<int64_t>(grpc_byte_buffer_length(&message));
  if (bytes <= max_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the message has ", bytes, " bytes; --max_message_bytes is ", max_bytes));
}

}  // namespace

void LiveCalls::Add(GrpcCall* call) {
  MutexLock lock(mu_);
  call->next_ = first_;
  if (first_ != nullptr) first_->previous_ = call;
  first_ = call;
}

void LiveCalls::Remove(GrpcCall* call) {
  MutexLock lock(mu_);
  if (call->next_ != nullptr) call->next_->previous_ = call->previous_;
  (call->previous_ != nullptr ? call->previous_->next_ : first_) = call->next_;
  if (first_ == nullptr) none_.NotifyAll();
}

void LiveCalls::AbortSendsSince(SteadyClock::time_point moment, const absl::Status& status) {
  MutexLock lock(mu_);  // Keeps the calls: a call removes itself before it goes.
  for (GrpcCall* call = first_; call != nullptr; call = call->next_) {
    const SteadyClock::rep since = call->sending_since_.load(std::memory_order_relaxed);
    if (since != 0 && since < moment.time_since_epoch().count()) call->Abort(status);
  }
}

bool LiveCalls::empty() const {
  MutexLock lock(mu_);
  return first_ == nullptr;
}

bool LiveCalls::WaitUntilNone(std::chrono::milliseconds timeout) {
  const SteadyClock::time_point end = SteadyClock::now() + timeout;
  MutexLock lock(mu_);
  while (first_ != nullptr) {
    if (!none_.WaitUntil(mu_, end)) return first_ == nullptr;
  }
  return true;
}

void GrpcCall::Arm(GrpcCallContext& context, Method method, void* registered) {
  auto* const call = new GrpcCall(context, method, registered);
  if (!call->Request()) delete call;
}

GrpcCall::GrpcCall(GrpcCallContext& context, Method method, void* registered)
    : context_(context), method_(method), registered_(registered) {
  for (int i = 0; i < kOperations; ++i) tags_[i] = {this, static_cast<Operation>(i)};
  grpc_metadata_array_init(&metadata_);
  grpc_call_details_init(&details_);
}

GrpcCall::~GrpcCall() {
  delete aborted_.load(std::memory_order_relaxed);
  if (received_ != nullptr) grpc_byte_buffer_destroy(received_);
  if (sent_ != nullptr) grpc_byte_buffer_destroy(sent_);
  if (call_ != nullptr) grpc_call_unref(call_);
  grpc_metadata_array_destroy(&metadata_);  // The slices in it belong to the call.
  grpc_call_details_destroy(&details_);
}

bool GrpcCall::Request() {
  void* const tag = &tags_[kHeaders];
  const grpc_call_error error =
      registered_ != nullptr
          ? grpc_server_request_registered_call(context_.server, registered_, &call_, &deadline_, &metadata_,
                                                nullptr, context_.queue, context_.queue, tag)
          : grpc_server_request_call(context_.server, &call_, &details_, &metadata_, context_.queue,
                                     context_.queue, tag);
  return error == GRPC_CALL_OK;
}

void GrpcCall::Deliver(void* tag, bool ok) {
  const Tag& event = *static_cast<Tag*>(tag);
  event.call->OnEvent(event.operation, ok);
}

void GrpcCall::OnEvent(Operation operation, bool ok) {
  switch (operation) {
    case kHeaders:
      if (ok) return OnHeaders();
      call_ = nullptr;
      delete this;  // The server was shut down before a call came.
      return;
    case kRead:
      OnRead();
      break;
    case kWrite:
      sending_since_.store(0, std::memory_order_relaxed);
      grpc_byte_buffer_destroy(std::exchange(sent_, nullptr));
      handler_->OnWritten(ok);
      break;
    case kFinish:
      sending_since_.store(0, std::memory_order_relaxed);
      break;
    case kClose:
      if (cancelled_ != 0) handler_->OnCancelled();
      break;
    case kOperations:
      break;
  }
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) OnLastEvent();
}

void GrpcCall::OnHeaders() {
  // Now, not when this call ends: gRPC queues calls that nobody has asked for where we cannot see them.
  Arm(context_, method_, registered_);
  started_at_ = SteadyClock::now();
  context_.metrics->CallStarted(method_);
  context_.live.Add(this);
  handler_ = context_.service->OnCall(*this);
}

void GrpcCall::OnRead() {
  if (received_ == nullptr) return handler_->OnMessage(std::nullopt);
  grpc_byte_buffer* const buffer = std::exchange(received_, nullptr);
  received_bytes_ += static_cast<int64_t>(grpc_byte_buffer_length(buffer));
  if (absl::Status fault = FaultOf(*buffer, context_.max_message_bytes); !fault.ok()) {
    grpc_byte_buffer_destroy(buffer);
    Abort(fault);
    return handler_->OnMessage(std::nullopt);
  }
  handler_->OnMessage(MessageFromByteBuffer(buffer));
}

void GrpcCall::OnLastEvent() {
  handler_->OnDone();
  // Afterwards, because who waits for the last call then looks at what the handlers have counted.
  context_.live.Remove(this);
  const SteadyClock::duration duration = SteadyClock::now() - started_at_;
  const absl::Status outcome = Outcome();
  context_.metrics->CallEnded({method_, outcome.code(), duration, received_bytes_, sent_bytes_});
  if (!outcome.ok()) LogFailedCall(*this, outcome, request_id_, duration);
  delete this;
}

// What the client has been told, or why it has been told nothing.
absl::Status GrpcCall::Outcome() const {
  if (const Aborted* const aborted = aborted_.load(std::memory_order_acquire)) return aborted->status;
  if (cancelled_ == 0) return finish_;
  return SteadyClock::now() >= deadline() ? absl::DeadlineExceededError("the client's deadline has passed")
                                          : absl::CancelledError("the client has cancelled or is gone");
}

std::string_view GrpcCall::path() const {
  return registered_ != nullptr ? PathOf(method_) : ViewOf(details_.method);
}

std::string GrpcCall::peer() const {
  if (const Aborted* const aborted = aborted_.load(std::memory_order_acquire)) return aborted->peer;
  char* const peer = grpc_call_get_peer(call_);
  std::string text(peer);
  gpr_free(peer);
  return text;
}

std::string GrpcCall::certificate_name() const {
  grpc_auth_context* const context = grpc_call_auth_context(call_);
  std::string name;
  for (const char* const property : {GRPC_X509_SAN_PROPERTY_NAME, GRPC_X509_CN_PROPERTY_NAME}) {
    grpc_auth_property_iterator values = grpc_auth_context_find_properties_by_name(context, property);
    const grpc_auth_property* const value = grpc_auth_property_iterator_next(&values);
    if (value == nullptr) continue;
    name.assign(value->value, value->value_length);
    break;
  }
  grpc_auth_context_release(context);
  return name;
}

std::string_view GrpcCall::header(std::string_view name) const {
  for (size_t i = 0; i < metadata_.count; ++i) {
    if (ViewOf(metadata_.metadata[i].key) == name) return ViewOf(metadata_.metadata[i].value);
  }
  return {};
}

SteadyClock::time_point GrpcCall::deadline() const {
  const gpr_timespec deadline = registered_ != nullptr ? deadline_ : details_.deadline;
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) return SteadyClock::time_point::max();
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  return SteadyClock::now() + std::chrono::seconds(left.tv_sec) + std::chrono::nanoseconds(left.tv_nsec);
}

void GrpcCall::Start(const grpc_op* operations, size_t count, Operation operation) {
  const grpc_call_error error = grpc_call_start_batch(call_, operations, count, &tags_[operation], nullptr);
  GPR_ASSERT(error == GRPC_CALL_OK);  // Anything else is a misuse of Call's contract.
}

void GrpcCall::MarkSending() {
  sending_since_.store(SteadyClock::now().time_since_epoch().count(), std::memory_order_relaxed);
}

void GrpcCall::Read() {
  references_.fetch_add(1, std::memory_order_relaxed);
  grpc_op operation{};
  operation.op = GRPC_OP_RECV_MESSAGE;
  operation.data.recv_message.recv_message = &received_;
  Start(&operation, 1, kRead);
}

void GrpcCall::Write(Answer answer) {
  references_.fetch_add(1, std::memory_order_relaxed);
  sent_ = ByteBufferFromAnswer(std::move(answer));
  sent_bytes_ += static_cast<int64_t>(grpc_byte_buffer_length(sent_));
  grpc_op operations[2]{};
  size_t count = 0;
  if (!std::exchange(metadata_sent_, true)) operations[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
  operations[count].op = GRPC_OP_SEND_MESSAGE;
  operations[count++].data.send_message.send_message = sent_;
  MarkSending();
  Start(operations, count, kWrite);
}

void GrpcCall::Finish(Answer answer) {
  StartFinish(ByteBufferFromAnswer(std::move(answer)), absl::OkStatus(), {});
}

void GrpcCall::Finish(const absl::Status& status, std::chrono::milliseconds retry_after) {
  StartFinish(nullptr, status, retry_after);
}

// The reference that was held for the Finish that was owed is now the operation's.
void GrpcCall::StartFinish(grpc_byte_buffer* answer, const absl::Status& status,
                           std::chrono::milliseconds retry_after) {
  grpc_op operations[4]{};
  size_t count = 0;
  if (!std::exchange(metadata_sent_, true)) operations[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
  finish_ = absl::Status(status.code(), status.message());
  if (answer != nullptr) {
    sent_ = answer;
    sent_bytes_ += static_cast<int64_t>(grpc_byte_buffer_length(sent_));
    operations[count].op = GRPC_OP_SEND_MESSAGE;
    operations[count++].data.send_message.send_message = sent_;
  }
  grpc_op& send_status = operations[count++];
  send_status.op = GRPC_OP_SEND_STATUS_FROM_SERVER;
  send_status.data.send_status_from_server.status = static_cast<grpc_status_code>(status.code());
  grpc_slice details = SliceOf({status.message().data(), status.message().size()});
  send_status.data.send_status_from_server.status_details = status.ok() ? nullptr : &details;
  if (retry_after.count() > 0) {
    pushback_.key = grpc_slice_from_static_string("grpc-retry-pushback-ms");
    pushback_.value = SliceOf(absl::StrCat(retry_after.count()));
    send_status.data.send_status_from_server.trailing_metadata_count = 1;
    send_status.data.send_status_from_server.trailing_metadata = &pushback_;
  }
  if (!watches_close_) {
    operations[count].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    operations[count++].data.recv_close_on_server.cancelled = &cancelled_;
  }
  MarkSending();
  // The call may be destroyed as soon as the operation has started.
  const grpc_slice pushback_value = pushback_.value;
  Start(operations, count, kFinish);
  grpc_slice_unref(details);
  if (retry_after.count() > 0) grpc_slice_unref(pushback_value);
}

void GrpcCall::NotifyOnCancel() {
  watches_close_ = true;
  references_.fetch_add(1, std::memory_order_relaxed);
  grpc_op operation{};
  operation.op = GRPC_OP_RECV_CLOSE_ON_SERVER;
  operation.data.recv_close_on_server.cancelled = &cancelled_;
  Start(&operation, 1, kClose);
}

void GrpcCall::Abort(const absl::Status& status) {
  if (aborted_.load(std::memory_order_acquire) == nullptr) {
    auto kept =
        std::make_unique<const Aborted>(Aborted{absl::Status(status.code(), status.message()), peer()});
    const Aborted* none = nullptr;
    if (aborted_.compare_exchange_strong(none, kept.get(), std::memory_order_acq_rel)) kept.release();
  }
  grpc_call_cancel_with_status(call_, static_cast<grpc_status_code>(status.code()),
                               std::string(status.message()).c_str(), nullptr);
}

}  // namespace kldiv::server
