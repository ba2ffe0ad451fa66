#include "tests/testing/fake_transport.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "tests/testing/patience.h"

namespace kldiv::testing {
namespace {

using server::Answer;
using server::Message;
using server::MutexLock;

// A message in memory of its own, slice by slice, so that a read beyond one is seen.
class SlicedMessage final : public Message::Holder {
 public:
  SlicedMessage(std::string_view bytes, size_t slice_bytes) {
    for (size_t at = 0; at < bytes.size(); at += slice_bytes) {
      const std::string_view slice = bytes.substr(at, slice_bytes);
      memory_.emplace_back(slice.begin(), slice.end());
    }
    for (const std::vector<uint8_t>& slice : memory_) slices_.emplace_back(slice);
  }

  std::span<const wire::Slice> slices() const { return slices_; }

 private:
  std::vector<std::vector<uint8_t>> memory_;
  std::vector<wire::Slice> slices_;
};

// The bytes of an answer, whose memory must be alive and be what the references point to.
std::string Flatten(const Answer& answer) {
  std::string bytes;
  size_t at = 0;
  for (const wire::Parts::Reference& reference : answer.parts.references) {
    EXPECT_LT(reference.tag, answer.memory.size()) << "a reference to nobody's memory";
    bytes.append(answer.parts.owned, at, reference.after - at);
    at = reference.after;
    bytes.append(reinterpret_cast<const char*>(reference.bytes.data()), reference.bytes.size());
  }
  return bytes.append(answer.parts.owned, at);
}

}  // namespace

FakeTransport::FakeTransport(server::Service& service, int threads) : service_(service) {
  for (int i = 0; i < std::max(1, threads); ++i) {
    pollers_.push_back(std::make_unique<Poller>());
    Poller& poller = *pollers_.back();
    if (threads > 0) poller.thread = std::thread([&poller] { Run(poller); });
  }
}

FakeTransport::~FakeTransport() {
  for (const auto& poller : pollers_) {
    {
      MutexLock lock(poller->mu);
      poller->stop = true;
    }
    poller->wake.NotifyAll();
    if (poller->thread.joinable()) poller->thread.join();
  }
  MutexLock lock(mu_);
  for (const auto& call : calls_) EXPECT_TRUE(call->done()) << "a call that has not ended";
}

FakeCall& FakeTransport::Call(server::Method method, CallOptions options) {
  MutexLock lock(mu_);
  Poller& poller = *pollers_[calls_.size() % pollers_.size()];
  auto call = std::make_shared<FakeCall>(method, std::move(options), poller);
  calls_.push_back(call);
  Post(poller, [this, call] { call->Begin(service_); });
  return *call;
}

void FakeTransport::Post(Poller& poller, Event event) {
  MutexLock lock(poller.mu);
  poller.events.push_back(std::move(event));
  poller.wake.NotifyOne();
}

void FakeTransport::Poll() {
  Poller& poller = *pollers_.front();
  for (;;) {
    Event event;
    {
      MutexLock lock(poller.mu);
      if (poller.events.empty()) return;
      event = std::move(poller.events.front());
      poller.events.pop_front();
    }
    event();
  }
}

void FakeTransport::Run(Poller& poller) {
  for (;;) {
    Event event;
    {
      MutexLock lock(poller.mu);
      while (poller.events.empty() && !poller.stop) poller.wake.Wait(poller.mu);
      if (poller.events.empty()) return;
      event = std::move(poller.events.front());
      poller.events.pop_front();
    }
    event();
  }
}

FakeCall::FakeCall(server::Method method, FakeTransport::CallOptions options, FakeTransport::Poller& poller)
    : method_(method), options_(std::move(options)), poller_(poller) {}

void FakeCall::Begin(server::Service& service) {
  {
    MutexLock lock(mu_);
    began_ = true;
    ++events_;  // OnDone waits until OnCall has returned.
  }
  handler_ = service.OnCall(*this);
  EXPECT_NE(handler_, nullptr);
  MutexLock lock(mu_);
  --events_;
  Progress();
}

void FakeCall::Send(std::string_view message, size_t slice_bytes) {
  auto sliced = std::make_unique<SlicedMessage>(message, slice_bytes);
  const auto slices = sliced->slices();
  MutexLock lock(mu_);
  sent_.emplace_back(slices, message.size(), std::move(sliced));
  Progress();
}

void FakeCall::HalfClose() {
  MutexLock lock(mu_);
  half_closed_ = true;
  Progress();
}

void FakeCall::Cancel() {
  MutexLock lock(mu_);
  if (finished_) return;
  cancelled_ = true;
  End(absl::CancelledError("by the client"));
  Progress();
}

void FakeCall::StallWrites(bool stall) {
  MutexLock lock(mu_);
  stalled_ = stall;
  Progress();
}

bool FakeCall::ended() const {
  MutexLock lock(mu_);
  return ended_;
}

absl::Status FakeCall::status() const {
  MutexLock lock(mu_);
  EXPECT_TRUE(ended_) << "the call has not ended";
  return ended_ ? status_ : absl::UnknownError("the call has not ended");
}

std::chrono::milliseconds FakeCall::retry_after() const {
  MutexLock lock(mu_);
  return retry_after_;
}

std::vector<std::string> FakeCall::answers() const {
  MutexLock lock(mu_);
  return answers_;
}

bool FakeCall::reading() const {
  MutexLock lock(mu_);
  return reading_;
}

bool FakeCall::watches_cancel() const {
  MutexLock lock(mu_);
  return watches_cancel_;
}

bool FakeCall::done() const {
  MutexLock lock(mu_);
  return done_;
}

int FakeCall::reads() const {
  MutexLock lock(mu_);
  return reads_;
}

bool FakeCall::WaitUntilDone() {
  const auto end = PatienceEnd();
  MutexLock lock(mu_);
  while (!done_) {
    if (!changed_.WaitUntil(mu_, end)) return done_;
  }
  return true;
}

bool FakeCall::WaitForAnswers(size_t count) {
  const auto end = PatienceEnd();
  MutexLock lock(mu_);
  while (answers_.size() < count) {
    if (!changed_.WaitUntil(mu_, end)) return answers_.size() >= count;
  }
  return true;
}

std::string FakeCall::peer() const {
  MutexLock lock(mu_);
  Expect(!done_posted_, "peer after OnDone");
  ++peer_calls_;
  return options_.peer;
}

std::string_view FakeCall::header(std::string_view name) const {
  const auto header = options_.headers.find(name);
  return header == options_.headers.end() ? std::string_view() : header->second;
}

void FakeCall::Expect(bool condition, const char* what) const {
  if (!condition) ADD_FAILURE() << "a breach of the transport's contract: " << what;
}

void FakeCall::Read() {
  MutexLock lock(mu_);
  Expect(!reading_, "two Reads at a time");
  Expect(!finish_called_, "Read after Finish");
  reading_ = true;
  ++reads_;
  Progress();
}

void FakeCall::Write(Answer answer) {
  MutexLock lock(mu_);
  Expect(!writing_, "two Writes at a time");
  Expect(!finish_called_, "Write after Finish");
  writing_ = true;
  to_write_ = std::move(answer);
  Progress();
}

void FakeCall::Finish(Answer answer) {
  {
    MutexLock lock(mu_);
    has_final_answer_ = true;
  }
  StartFinish(std::move(answer), absl::OkStatus(), {});
}

void FakeCall::Finish(const absl::Status& status, std::chrono::milliseconds retry_after) {
  StartFinish({}, status, retry_after);
}

void FakeCall::StartFinish(Answer answer, const absl::Status& status, std::chrono::milliseconds retry_after) {
  const auto self = shared_from_this();  // OnDone may come at once on another thread.
  MutexLock lock(mu_);
  Expect(!finish_called_, "Finish twice");
  Expect(!writing_, "Finish while a Write is under way");
  finish_called_ = true;
  final_answer_ = std::move(answer);
  final_status_ = status;
  if (!IsDead()) retry_after_ = retry_after;
  Progress();
}

void FakeCall::NotifyOnCancel() {
  MutexLock lock(mu_);
  Expect(!watches_cancel_, "NotifyOnCancel twice");
  Expect(!finish_called_, "NotifyOnCancel after Finish");
  watches_cancel_ = true;
  Progress();
}

void FakeCall::Abort(const absl::Status& status) {
  MutexLock lock(mu_);
  Expect(!done_posted_, "Abort after OnDone");
  aborted_ = true;
  End(status);
  Progress();
}

void FakeCall::End(const absl::Status& status) {
  if (std::exchange(ended_, true)) return;
  status_ = status;
}

void FakeCall::Post(std::function<void()> event) {
  ++events_;
  FakeTransport::Post(poller_, [self = shared_from_this(), event = std::move(event)] {
    event();
    MutexLock lock(self->mu_);
    --self->events_;
    self->Progress();
  });
}

void FakeCall::Progress() {
  if (!began_) return;
  Expect(!done_posted_ || !(reading_ || writing_), "an operation after OnDone");
  ProgressRead();
  ProgressWrite();
  ProgressFinish();
  ProgressCancel();
  changed_.NotifyAll();
  if (!finished_ || reading_ || writing_ || events_ > 0 || std::exchange(done_posted_, true)) return;
  FakeTransport::Post(poller_, [self = shared_from_this()] {
    self->handler_->OnDone();
    self->handler_.reset();
    MutexLock lock(self->mu_);
    self->done_ = true;
    self->changed_.NotifyAll();
  });
}

void FakeCall::ProgressRead() {
  if (!reading_ || read_ending_) return;
  const bool has_message = !sent_.empty() && !IsDead();
  if (!has_message && !half_closed_ && !IsDead() && !finished_) return;
  read_ending_ = true;
  auto message = std::make_shared<std::optional<Message>>();
  if (has_message) {
    *message = std::move(sent_.front());
    sent_.pop_front();
  }
  Post([this, message] {
    {
      MutexLock lock(mu_);
      reading_ = read_ending_ = false;
    }
    handler_->OnMessage(std::move(*message));
  });
}

void FakeCall::ProgressWrite() {
  if (!writing_ || !to_write_.has_value() || (stalled_ && !IsDead())) return;
  const bool ok = !IsDead();
  if (ok) answers_.push_back(Flatten(*to_write_));
  to_write_.reset();
  Post([this, ok] {
    {
      MutexLock lock(mu_);
      writing_ = false;
    }
    handler_->OnWritten(ok);
  });
}

void FakeCall::ProgressFinish() {
  if (!finish_called_ || finished_ || (stalled_ && !IsDead())) return;
  finished_ = true;
  if (!IsDead() && has_final_answer_) answers_.push_back(Flatten(final_answer_));
  final_answer_ = {};
  End(final_status_);
  ProgressRead();  // A read that is under way ends with the call.
}

void FakeCall::ProgressCancel() {
  if (!watches_cancel_ || cancel_told_ || !IsDead()) return;
  cancel_told_ = true;
  Post([this] { handler_->OnCancelled(); });
}

}  // namespace kldiv::testing
