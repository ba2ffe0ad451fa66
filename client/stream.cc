#include "client/stream.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/grpc_status.h"
#include "client/messages.h"

namespace kldiv::internal {
namespace {

using ReaderWriter = grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

// One gRPC call. A stream has one after the other: the server may end an idle one.
class Session {
 public:
  Session(Connection& connection, std::optional<Deadline> deadline) {
    if (deadline.has_value()) context_.set_deadline(*deadline);
    // The headers go with the first message, instead of waiting for a connection here.
    context_.set_initial_metadata_corked(true);
    call_.reset(grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
        connection.channel(), connection.evaluate_stream(), &context_));
  }

  ReaderWriter& call() { return *call_; }
  absl::Status Finish() { return FromGrpcStatus(call_->Finish(), context_); }
  void Cancel() { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<ReaderWriter> call_;
};

bool IsIdleEnd(const absl::Status& status) {
  const absl::string_view text = status.message();
  return absl::IsUnavailable(status) && std::string_view(text.data(), text.size()).starts_with("idle");
}

class GrpcStream : public Stream {
 public:
  GrpcStream(std::shared_ptr<Connection> connection, std::optional<Deadline> deadline)
      : connection_(std::move(connection)), deadline_(deadline) {}
  ~GrpcStream() override;

  absl::Status Write(const Pair& pair, uint64_t request_id) override;
  absl::StatusOr<std::optional<StreamResult>> Read() override;
  absl::Status WritesDone() override;

 private:
  // The session on which to write the pair, opened if need be; the pair is being written from now on. An
  // error: the stream takes no more pairs.
  absl::StatusOr<std::shared_ptr<Session>> BeginWrite(uint64_t id, uint64_t request_id);
  // Sends the message and waits until its memory is free. False: the session is over.
  bool Send(Session& session, const wire::Parts& message);
  // The pair is not being written any more. True: it has been sent, or even answered.
  bool EndWrite(uint64_t id, bool sent);

  // Waits until there is something to read: a result, a session or the end.
  struct Readable {
    std::optional<StreamResult> result;
    std::shared_ptr<Session> session;
    absl::Status end;  // when there is neither
  };
  Readable WaitForReadable();

  // Reads what a session that is over still has to say and takes it from the stream.
  void Drain(const std::shared_ptr<Session>& session);
  // Takes a session from the stream that has been read to its end. The caller holds read_mu_.
  void Retire(Session& session);
  bool IsCurrent(const std::shared_ptr<Session>& session) const;

  // An answer's bytes as the caller's result.
  absl::StatusOr<StreamResult> ToResult(grpc::ByteBuffer& message);

  const std::shared_ptr<Connection> connection_;
  const std::optional<Deadline> deadline_;

  std::mutex read_mu_;  // held while a session is read or finished; taken before mu_

  mutable std::mutex mu_;
  std::condition_variable changed_;
  // Guarded by mu_.
  std::shared_ptr<Session> session_;
  uint64_t last_id_ = 0;
  uint64_t writing_ = 0;                               // the pair that is being written; 0: none
  std::unordered_map<uint64_t, uint64_t> unanswered_;  // our id on the wire to the caller's
  std::deque<StreamResult> results_;                   // to be read before the session
  bool writes_done_ = false;
  std::optional<absl::Status> end_;  // the stream is over
};

GrpcStream::~GrpcStream() {
  if (session_ == nullptr) return;
  session_->Cancel();
  session_->Finish().IgnoreError();  // Cancelled, or whatever it had ended with.
}

absl::Status GrpcStream::Write(const Pair& pair, uint64_t request_id) {
  uint64_t id = 0;
  {
    const std::lock_guard lock(mu_);
    id = ++last_id_;
  }
  const std::chrono::nanoseconds default_timeout = connection_->options().default_timeout;
  const wire::Parts message = EncodePair(pair, id, default_timeout.count());
  absl::Status size = connection_->CheckSize(static_cast<int64_t>(message.size()),
                                             deadline_.value_or(DeadlineAfter(default_timeout)));
  if (!size.ok()) return size;

  // A second time when the server had ended the session while it was idle, without reading this pair.
  for (int attempt = 0; attempt < 2; ++attempt) {
    absl::StatusOr<std::shared_ptr<Session>> session = BeginWrite(id, request_id);
    if (!session.ok()) return session.status();
    const bool sent = Send(**session, message);
    if (!sent) Drain(*session);
    if (EndWrite(id, sent)) return absl::OkStatus();
  }
  return absl::UnavailableError("the server ended the stream twice before it read the pair");
}

absl::StatusOr<std::shared_ptr<Session>> GrpcStream::BeginWrite(uint64_t id, uint64_t request_id) {
  const std::lock_guard lock(mu_);
  if (writes_done_) return absl::FailedPreconditionError("Write after WritesDone");
  if (end_.has_value()) return *end_;
  if (session_ == nullptr) {
    session_ = std::make_shared<Session>(*connection_, deadline_);
    changed_.notify_all();
  }
  unanswered_.emplace(id, request_id);
  writing_ = id;
  return session_;
}

bool GrpcStream::Send(Session& session, const wire::Parts& message) {
  LentMemory memory;
  bool sent = false;
  {
    const grpc::ByteBuffer bytes = ToByteBuffer(message, memory);  // gone before the wait
    sent = session.call().Write(bytes, grpc::WriteOptions());
  }
  connection_->WaitUntilReturned(memory);
  return sent;
}

bool GrpcStream::EndWrite(uint64_t id, bool sent) {
  const std::lock_guard lock(mu_);
  writing_ = 0;
  return sent || unanswered_.erase(id) == 0;
}

absl::StatusOr<std::optional<StreamResult>> GrpcStream::Read() {
  while (true) {
    Readable readable = WaitForReadable();
    if (readable.result.has_value()) return std::move(readable.result);
    if (readable.session == nullptr) {
      if (!readable.end.ok()) return readable.end;
      return std::nullopt;
    }
    const std::lock_guard lock(read_mu_);
    if (!IsCurrent(readable.session)) continue;
    if (grpc::ByteBuffer message; readable.session->call().Read(&message)) {
      absl::StatusOr<StreamResult> result = ToResult(message);
      if (!result.ok()) return result.status();
      return *std::move(result);
    }
    Retire(*readable.session);
  }
}

GrpcStream::Readable GrpcStream::WaitForReadable() {
  std::unique_lock lock(mu_);
  changed_.wait(
      lock, [this] { return !results_.empty() || session_ != nullptr || end_.has_value() || writes_done_; });
  Readable readable;
  if (!results_.empty()) {
    readable.result = std::move(results_.front());
    results_.pop_front();
  } else {
    readable.session = session_;
    readable.end = end_.value_or(absl::OkStatus());
  }
  return readable;
}

absl::Status GrpcStream::WritesDone() {
  std::shared_ptr<Session> session;
  {
    const std::lock_guard lock(mu_);
    if (writes_done_) return absl::OkStatus();
    writes_done_ = true;
    session = session_;
    changed_.notify_all();
  }
  // When the session is over already, Read says how it ended.
  if (session != nullptr) session->call().WritesDone();
  return absl::OkStatus();
}

bool GrpcStream::IsCurrent(const std::shared_ptr<Session>& session) const {
  const std::lock_guard lock(mu_);
  return session_ == session;
}

void GrpcStream::Drain(const std::shared_ptr<Session>& session) {
  const std::lock_guard read_lock(read_mu_);
  if (!IsCurrent(session)) return;
  for (grpc::ByteBuffer message; session->call().Read(&message); message.Clear()) {
    if (absl::StatusOr<StreamResult> result = ToResult(message); result.ok()) {
      const std::lock_guard lock(mu_);
      results_.push_back(*std::move(result));
    }
  }
  Retire(*session);
}

void GrpcStream::Retire(Session& session) {
  absl::Status status = session.Finish();
  connection_->CallEnded(status);
  const std::lock_guard lock(mu_);
  session_ = nullptr;
  if (IsIdleEnd(status)) {
    // Accepted pairs have been answered. The others were on their way, and their memory is no longer ours to
    // send again, except that of the one being written.
    for (const auto& [id, request_id] : unanswered_) {
      if (id == writing_) continue;
      results_.push_back(
          {request_id, absl::UnavailableError(
                           "the server ended the idle stream before it read this pair: write it again")});
    }
    std::erase_if(unanswered_, [this](const auto& entry) { return entry.first != writing_; });
  } else if (!end_.has_value()) {
    const bool complete = writes_done_ && unanswered_.empty();
    if (status.ok() && !complete) {
      status = absl::InternalError(
          absl::StrCat("the server ended the stream with ", unanswered_.size(), " pairs unanswered"));
    }
    end_ = std::move(status);
  }
  changed_.notify_all();
}

absl::StatusOr<StreamResult> GrpcStream::ToResult(grpc::ByteBuffer& message) {
  absl::StatusOr<StreamResult> result = ParseEvaluateResult(message);
  const std::lock_guard lock(mu_);
  if (result.ok()) {
    const auto found = unanswered_.find(result->request_id);
    if (found != unanswered_.end()) {
      result->request_id = found->second;
      unanswered_.erase(found);
      return result;
    }
    result = absl::InternalError(absl::StrCat("the server's answer has request_id ", result->request_id,
                                              ", which is no unanswered pair's"));
  }
  // What comes after such an answer cannot be trusted either.
  if (!end_.has_value()) end_ = result.status();
  if (session_ != nullptr) session_->Cancel();
  return result;
}

}  // namespace

std::unique_ptr<Stream> MakeStream(std::shared_ptr<Connection> connection, std::optional<Deadline> deadline) {
  return std::make_unique<GrpcStream>(std::move(connection), deadline);
}

}  // namespace kldiv::internal
