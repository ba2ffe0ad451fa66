#include "client/stream.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/messages.h"
#include "client/retry.h"
#include "client/stream_session.h"

namespace kldiv::internal {
namespace {

using Clock = std::chrono::steady_clock;
using Session = StreamSession;

// The server had too many idle streams, or for too long: nothing is wrong.
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
  // A pair without a result. Its bytes are kept for another session.
  struct Unanswered {
    uint64_t request_id = 0;  // the caller's
    grpc::ByteBuffer message;
    Clock::time_point deadline;
  };

  // The session on which to write the pair, opened if need be; the pair counts as unanswered from now on. An
  // error: the stream takes no more pairs.
  absl::StatusOr<std::shared_ptr<Session>> BeginWrite(uint64_t id, Unanswered pair);

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
  // What becomes of the stream after a session that ended so. The caller holds mu_.
  void GoOnAfter(absl::Status status, bool may_retry);
  // Whether another session may fare better.
  bool MayRetry(const Session& session, const absl::Status& status) const;
  bool IsCurrent(const std::shared_ptr<Session>& session) const;

  // Has unanswered pairs sent on a new session after the pause, by a thread of its own: sending waits for
  // whoever reads, and so must not be done by the reader. The caller holds mu_.
  void Restart(std::chrono::nanoseconds pause);
  void RunRestarts();
  // Sends the unanswered pairs on a new session.
  void Resend();
  void SayWritesDone();

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
  std::map<uint64_t, Unanswered> unanswered_;  // by our id on the wire, in the order of writing
  std::deque<StreamResult> results_;           // to be read before the session
  bool writes_done_ = false;
  bool said_writes_done_ = false;    // to the current session
  std::optional<absl::Status> end_;  // the stream is over
  int failures_ = 0;                 // sessions in a row that ended without an answer
  bool closing_ = false;             // being destroyed
  bool restarting_ = false;          // restarter_ is at work, and alone writes
  std::optional<std::chrono::nanoseconds> restart_after_;
  std::thread restarter_;
};

GrpcStream::~GrpcStream() {
  std::shared_ptr<Session> session;
  {
    const std::lock_guard lock(mu_);
    closing_ = true;
    session = session_;
    changed_.notify_all();
  }
  if (session != nullptr) session->Cancel();
  if (restarter_.joinable()) restarter_.join();
  if (session != nullptr) session->Finish().IgnoreError();  // Cancelled, or whatever it had ended with.
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

  const grpc::ByteBuffer bytes = CopyToByteBuffer(message);
  absl::StatusOr<std::shared_ptr<Session>> session =
      BeginWrite(id, {request_id, bytes, Clock::now() + pair.timeout.value_or(default_timeout)});
  if (!session.ok()) return session.status();
  if ((*session)->call().Write(bytes, grpc::WriteOptions())) return absl::OkStatus();

  // It may have been answered even so, or be sent once more.
  Drain(*session);
  const std::lock_guard lock(mu_);
  return end_.has_value() && unanswered_.contains(id) ? *end_ : absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Session>> GrpcStream::BeginWrite(uint64_t id, Unanswered pair) {
  std::unique_lock lock(mu_);
  changed_.wait(lock, [this] { return !restarting_; });
  if (writes_done_) return absl::FailedPreconditionError("Write after WritesDone");
  if (end_.has_value()) return *end_;
  if (session_ == nullptr) {
    session_ = std::make_shared<Session>(*connection_, deadline_);
    changed_.notify_all();
  }
  unanswered_.emplace(id, std::move(pair));
  return session_;
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
  changed_.wait(lock, [this] {
    return !results_.empty() || session_ != nullptr || end_.has_value() || (writes_done_ && !restarting_);
  });
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
  {
    const std::lock_guard lock(mu_);
    if (writes_done_) return absl::OkStatus();
    writes_done_ = true;
    changed_.notify_all();
    if (restarting_) return absl::OkStatus();  // That thread says so when it has sent everything.
  }
  SayWritesDone();
  return absl::OkStatus();
}

// When the session is over already, Read says how it ended.
void GrpcStream::SayWritesDone() {
  std::shared_ptr<Session> session;
  {
    const std::lock_guard lock(mu_);
    if (session_ == nullptr || said_writes_done_) return;
    said_writes_done_ = true;
    session = session_;
  }
  session->call().WritesDone();
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
  const bool may_retry = MayRetry(session, status);
  const std::lock_guard lock(mu_);
  session_ = nullptr;
  said_writes_done_ = false;
  if (!end_.has_value()) GoOnAfter(std::move(status), may_retry);
  changed_.notify_all();
}

bool GrpcStream::MayRetry(const Session& session, const absl::Status& status) const {
  if (!connection_->options().retry) return false;
  // The token was replaced while the session lasted.
  if (absl::IsUnauthenticated(status)) return connection_->Authorization() != session.authorization();
  return IsRetryable(status);
}

void GrpcStream::GoOnAfter(absl::Status status, bool may_retry) {
  const bool complete = writes_done_ && unanswered_.empty();
  if (status.ok()) {
    end_ = complete ? absl::OkStatus()
                    : absl::InternalError(absl::StrCat("the server ended the stream with ",
                                                       unanswered_.size(), " pairs unanswered"));
    return;
  }
  const bool idle = IsIdleEnd(status);
  if (!idle && !may_retry) {
    end_ = std::move(status);
    return;
  }
  if (complete) {
    end_ = absl::OkStatus();
    return;
  }
  if (unanswered_.empty()) return;  // The next Write opens a session.
  if (!idle && ++failures_ >= kMaxAttempts) {
    end_ = std::move(status);
    return;
  }
  // Longer than a pair may take is as good as never.
  Restart(idle ? std::chrono::nanoseconds(0)
               : std::min(PauseBeforeRetry(status, failures_), connection_->options().default_timeout));
}

void GrpcStream::Restart(std::chrono::nanoseconds pause) {
  restart_after_ = pause;
  if (restarting_) return;  // It looks for another restart before it ends.
  if (restarter_.joinable()) restarter_.join();
  restarting_ = true;
  restarter_ = std::thread([this] { RunRestarts(); });
}

void GrpcStream::RunRestarts() {
  std::unique_lock lock(mu_);
  while (!closing_) {
    if (restart_after_.has_value()) {
      const std::chrono::nanoseconds pause = *restart_after_;
      restart_after_.reset();
      if (changed_.wait_for(lock, pause, [this] { return closing_; })) break;
      lock.unlock();
      Resend();
      lock.lock();
    } else if (writes_done_ && session_ != nullptr && !said_writes_done_) {
      lock.unlock();
      SayWritesDone();
      lock.lock();
    } else {
      break;
    }
  }
  restarting_ = false;
  changed_.notify_all();
}

void GrpcStream::Resend() {
  std::shared_ptr<Session> session;
  std::vector<grpc::ByteBuffer> messages;
  {
    const std::lock_guard lock(mu_);
    const Clock::time_point now = Clock::now();
    for (auto pair = unanswered_.begin(); pair != unanswered_.end();) {
      if (pair->second.deadline > now) {
        messages.push_back(pair->second.message);
        ++pair;
      } else {
        results_.push_back(
            {pair->second.request_id,
             absl::DeadlineExceededError("the pair's time was over before it could be sent again")});
        pair = unanswered_.erase(pair);
      }
    }
    changed_.notify_all();
    if (messages.empty()) {
      if (writes_done_) end_ = absl::OkStatus();
      return;
    }
    if (closing_) return;
    session = session_ = std::make_shared<Session>(*connection_, deadline_);
  }
  for (const grpc::ByteBuffer& message : messages) {
    if (!session->call().Write(message, grpc::WriteOptions())) return;  // Whoever reads sees the end.
  }
}

absl::StatusOr<StreamResult> GrpcStream::ToResult(grpc::ByteBuffer& message) {
  absl::StatusOr<StreamResult> result = ParseEvaluateResult(message);
  const std::lock_guard lock(mu_);
  if (result.ok()) {
    const auto found = unanswered_.find(result->request_id);
    if (found != unanswered_.end()) {
      result->request_id = found->second.request_id;
      unanswered_.erase(found);
      failures_ = 0;
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
