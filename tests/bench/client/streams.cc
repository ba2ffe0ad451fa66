#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>

#include <deque>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/bench/client/core.h"
#include "tests/bench/client/load.h"

namespace kldiv::bench {
namespace {

// A stream that keeps `window` messages unanswered: one write and one read under way at a time.
class StreamCall {
 public:
  enum Operation { kOpen, kWrite, kRead, kStatus, kOperations };
  struct Tag {
    StreamCall* stream;
    Operation operation;
  };

  StreamCall(const Core& core, size_t channel, int window, AnswerCheck& check, Results& results)
      : core_(core),
        window_(static_cast<size_t>(window)),
        check_(check),
        results_(results),
        call_(core.NewCall(channel)) {
    for (int i = 0; i < kOperations; ++i) tags_[i] = {this, static_cast<Operation>(i)};
    grpc_metadata_array_init(&initial_);
    grpc_metadata_array_init(&trailing_);
  }
  ~StreamCall() {
    grpc_metadata_array_destroy(&initial_);
    grpc_metadata_array_destroy(&trailing_);
    grpc_slice_unref(details_);
    grpc_call_unref(call_);
  }

  StreamCall(const StreamCall&) = delete;
  StreamCall& operator=(const StreamCall&) = delete;

  void Open() {
    grpc_op operations[2]{};
    operations[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    operations[1].op = GRPC_OP_RECV_INITIAL_METADATA;
    operations[1].data.recv_initial_metadata.recv_initial_metadata = &initial_;
    Start(operations, 2, kOpen);
    grpc_op status{};
    status.op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    status.data.recv_status_on_client = {&trailing_, &code_, &details_, nullptr};
    Start(&status, 1, kStatus);
    Read();
    Write();
  }

  void OnEvent(Operation operation) {
    --under_way_;
    if (operation == kRead) OnRead();
    if (operation == kWrite) {
      if (message_ != nullptr) grpc_byte_buffer_destroy(std::exchange(message_, nullptr));
      writing_ = false;
    }
    if (!writing_ && !closed_) Write();
  }

  bool ended() const { return under_way_ == 0; }
  std::string failure() const {
    if (!failure_.empty() || code_ == GRPC_STATUS_OK) return failure_;
    return absl::StrCat("a stream ended with status ", static_cast<int>(code_));
  }

 private:
  void Start(const grpc_op* operations, size_t count, Operation operation) {
    ++under_way_;
    grpc_call_start_batch(call_, operations, count, &tags_[operation], nullptr);
  }

  void Read() {
    grpc_op read{};
    read.op = GRPC_OP_RECV_MESSAGE;
    read.data.recv_message.recv_message = &answer_;
    Start(&read, 1, kRead);
  }

  // The next message, when there is room for it, or the end.
  void Write() {
    const Clock::time_point now = Clock::now();
    closed_ = !failure_.empty() || results_.Over(now);
    if (!closed_ && sent_.size() >= window_) return;
    grpc_op write{};
    write.op = closed_ ? GRPC_OP_SEND_CLOSE_FROM_CLIENT : GRPC_OP_SEND_MESSAGE;
    if (!closed_) {
      sent_.push_back(now);
      message_ = core_.NewMessage();
      write.data.send_message.send_message = message_;
    }
    writing_ = true;
    Start(&write, 1, kWrite);
  }

  void OnRead() {
    if (answer_ == nullptr) {
      closed_ = true;
      return;
    }
    if (std::string wrong = check_.Check(Contents(answer_)); !wrong.empty()) failure_ = std::move(wrong);
    grpc_byte_buffer_destroy(std::exchange(answer_, nullptr));
    results_.Answered(sent_.front(), Clock::now());
    sent_.pop_front();
    Read();
  }

  const Core& core_;
  const size_t window_;
  AnswerCheck& check_;
  Results& results_;
  grpc_call* const call_;
  Tag tags_[kOperations];
  grpc_byte_buffer* message_ = nullptr;
  grpc_byte_buffer* answer_ = nullptr;
  grpc_metadata_array initial_{};
  grpc_metadata_array trailing_{};
  grpc_status_code code_ = GRPC_STATUS_OK;
  grpc_slice details_{};
  int under_way_ = 0;  // operations
  bool writing_ = false;
  bool closed_ = false;  // nothing more is written
  std::deque<Clock::time_point> sent_;
  std::string failure_;
};

}  // namespace

std::string RunStreams(const Load& load, const Request& request, AnswerCheck& check, Results& results) {
  const Core core(load.server, load.channels, request);
  std::vector<std::unique_ptr<StreamCall>> streams;
  for (size_t i = 0; i < core.channels(); ++i) {
    streams.push_back(
        std::make_unique<StreamCall>(core, i, load.outstanding / load.channels, check, results));
    streams.back()->Open();
  }
  for (size_t open = streams.size(); open > 0;) {
    const grpc_event event =
        grpc_completion_queue_next(core.queue(), gpr_inf_future(GPR_CLOCK_REALTIME), nullptr);
    const StreamCall::Tag& tag = *static_cast<StreamCall::Tag*>(event.tag);
    tag.stream->OnEvent(tag.operation);
    if (tag.stream->ended()) --open;
  }
  for (const auto& stream : streams) {
    if (std::string failure = stream->failure(); !failure.empty()) return failure;
  }
  return "";
}

}  // namespace kldiv::bench
