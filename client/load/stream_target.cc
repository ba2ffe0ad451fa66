#include "client/load/stream_target.h"

#include <optional>
#include <utility>

namespace kldiv::load {
namespace {

void CallBack(const Target::Done& done, const absl::StatusOr<Evaluation>& answer) {
  if (answer.ok()) {
    done(absl::OkStatus(), std::span(&answer, 1));
  } else {
    done(answer.status(), {});
  }
}

}  // namespace

StreamConnection::StreamConnection(std::unique_ptr<Client> client)
    : client_(std::move(client)), writer_([this] { Write(); }), reader_([this] { Read(); }) {}

StreamConnection::~StreamConnection() {
  Cancel();
  writer_.join();
  reader_.join();
}

void StreamConnection::Start(const Pair& pair, Target::Done done) {
  const std::lock_guard lock(mu_);
  queue_.push_back({&pair, std::move(done)});
  changed_.notify_all();
}

void StreamConnection::Cancel() {
  std::deque<Queued> unwritten;
  {
    const std::lock_guard lock(mu_);
    cancelled_ = true;
    unwritten.swap(queue_);
    changed_.notify_all();
  }
  for (const Queued& queued : unwritten) CallBack(queued.done, absl::CancelledError("the run is over"));
}

bool StreamConnection::WaitForPair(Queued& queued) {
  std::unique_lock lock(mu_);
  changed_.wait(lock, [this] { return cancelled_ || !queue_.empty(); });
  if (cancelled_) return false;
  queued = std::move(queue_.front());
  queue_.pop_front();
  return true;
}

absl::StatusOr<std::shared_ptr<StreamConnection::Session>> StreamConnection::SessionForWriting() {
  const std::lock_guard lock(mu_);
  if (session_ == nullptr) {
    absl::StatusOr<std::unique_ptr<Stream>> stream = client_->OpenStream();
    if (!stream.ok()) return stream.status();
    session_ = std::make_shared<Session>();
    session_->stream = *std::move(stream);
    changed_.notify_all();
  }
  return session_;
}

void StreamConnection::Write() {
  for (Queued queued; WaitForPair(queued);) {
    const absl::StatusOr<std::shared_ptr<Session>> session = SessionForWriting();
    if (!session.ok()) {
      CallBack(queued.done, session.status());
      continue;
    }
    uint64_t id = 0;
    {
      const std::lock_guard lock(mu_);
      id = ++last_id_;
      (*session)->unanswered.emplace(id, std::move(queued.done));
    }
    const absl::Status status = (*session)->stream->Write(*queued.pair, id);
    if (status.ok()) continue;
    Finish(**session, id, status);
    if (absl::IsInvalidArgument(status)) continue;  // This pair's own fault; the stream goes on.
    // The reader hears of the end too.
    std::unique_lock lock(mu_);
    changed_.wait(lock, [&] { return session_ != *session; });
  }
  std::shared_ptr<Session> session;
  {
    const std::lock_guard lock(mu_);
    session = session_;
    written_ = true;
    changed_.notify_all();
  }
  if (session != nullptr) session->stream->WritesDone().IgnoreError();  // Read says how it ended.
}

void StreamConnection::Read() {
  while (true) {
    std::shared_ptr<Session> session;
    {
      std::unique_lock lock(mu_);
      changed_.wait(lock, [this] { return written_ || session_ != nullptr; });
      if (session_ == nullptr) return;
      session = session_;
    }
    absl::StatusOr<std::optional<StreamResult>> result = session->stream->Read();
    if (result.ok() && result->has_value()) {
      Finish(*session, (*result)->request_id, (*result)->evaluation);
    } else {
      End(session, result.ok() ? absl::CancelledError("the run is over") : result.status());
    }
  }
}

void StreamConnection::Finish(Session& session, uint64_t id, const absl::StatusOr<Evaluation>& answer) {
  Target::Done done;
  {
    const std::lock_guard lock(mu_);
    const auto found = session.unanswered.find(id);
    if (found == session.unanswered.end()) return;  // The other thread was first.
    done = std::move(found->second);
    session.unanswered.erase(found);
  }
  CallBack(done, answer);
}

void StreamConnection::End(const std::shared_ptr<Session>& session, const absl::Status& status) {
  std::unordered_map<uint64_t, Target::Done> unanswered;
  {
    const std::lock_guard lock(mu_);
    unanswered.swap(session->unanswered);
    session_ = nullptr;
    changed_.notify_all();
  }
  for (const auto& [id, done] : unanswered) CallBack(done, status);
}

}  // namespace kldiv::load
