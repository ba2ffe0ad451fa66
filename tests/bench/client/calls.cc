#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>

#include <memory>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/bench/client/core.h"
#include "tests/bench/client/load.h"

namespace kldiv::bench {
namespace {

// A unary call that is made again and again. Its address is its tag.
class UnaryCall {
 public:
  UnaryCall(const Core& core, size_t channel) : core_(core), channel_(channel) {
    grpc_metadata_array_init(&initial_);
    grpc_metadata_array_init(&trailing_);
  }
  ~UnaryCall() {
    grpc_metadata_array_destroy(&initial_);
    grpc_metadata_array_destroy(&trailing_);
  }

  UnaryCall(const UnaryCall&) = delete;
  UnaryCall& operator=(const UnaryCall&) = delete;

  // `due`: from when its latency counts.
  void Start(Clock::time_point due);
  Clock::time_point due() const { return due_; }

  // When its event has come.
  grpc_status_code code() const { return code_; }
  std::string Answer() { return answer_ == nullptr ? "" : Contents(answer_); }
  std::string StatusText() const;
  bool HasPushback() const;
  void Clear();  // afterwards; it may start again

 private:
  const Core& core_;
  const size_t channel_;
  Clock::time_point due_;
  grpc_call* call_ = nullptr;
  grpc_byte_buffer* message_ = nullptr;
  grpc_byte_buffer* answer_ = nullptr;
  grpc_metadata_array initial_{};
  grpc_metadata_array trailing_{};
  grpc_status_code code_ = GRPC_STATUS_OK;
  grpc_slice details_{};
};

void UnaryCall::Start(Clock::time_point due) {
  due_ = due;
  call_ = core_.NewCall(channel_);
  message_ = core_.NewMessage();
  grpc_op operations[6]{};
  operations[0].op = GRPC_OP_SEND_INITIAL_METADATA;
  operations[1].op = GRPC_OP_SEND_MESSAGE;
  operations[1].data.send_message.send_message = message_;
  operations[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
  operations[3].op = GRPC_OP_RECV_INITIAL_METADATA;
  operations[3].data.recv_initial_metadata.recv_initial_metadata = &initial_;
  operations[4].op = GRPC_OP_RECV_MESSAGE;
  operations[4].data.recv_message.recv_message = &answer_;
  operations[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
  operations[5].data.recv_status_on_client = {&trailing_, &code_, &details_, nullptr};
  grpc_call_start_batch(call_, operations, std::size(operations), this, nullptr);
}

std::string UnaryCall::StatusText() const {
  return absl::StrCat("a call ended with status ", static_cast<int>(code_), ": ",
                      absl::string_view(reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(details_)),
                                        GRPC_SLICE_LENGTH(details_)));
}

bool UnaryCall::HasPushback() const {
  for (size_t i = 0; i < trailing_.count; ++i) {
    if (grpc_slice_str_cmp(trailing_.metadata[i].key, "grpc-retry-pushback-ms") == 0) return true;
  }
  return false;
}

void UnaryCall::Clear() {
  grpc_byte_buffer_destroy(message_);
  if (answer_ != nullptr) grpc_byte_buffer_destroy(answer_);
  answer_ = nullptr;
  grpc_slice_unref(details_);
  // The slices in them belong to the call.
  initial_.count = trailing_.count = 0;
  grpc_call_unref(call_);
}

class CallLoop {
 public:
  CallLoop(const Load& load, const Schedule& schedule, const Request& request, AnswerCheck& check,
           Results& results)
      : load_(load),
        schedule_(schedule),
        core_(load.server, load.channels, request),
        check_(check),
        results_(results) {}

  std::string Run() {
    const bool open = schedule_.rate > 0;
    next_due_ = Clock::now();
    if (!open) {
      for (int i = 0; i < load_.outstanding; ++i) StartCall(Clock::now());
    }
    while (under_way_ > 0 || (open && MayStart())) {
      if (open && MayStart()) StartDueCalls();
      const grpc_event event =
          grpc_completion_queue_next(core_.queue(), open ? UntilDue() : Never(), nullptr);
      if (event.type == GRPC_OP_COMPLETE) OnEnd(*static_cast<UnaryCall*>(event.tag));
    }
    return failure_;
  }

 private:
  static gpr_timespec Never() { return gpr_inf_future(GPR_CLOCK_REALTIME); }

  gpr_timespec UntilDue() const {
    if (!MayStart()) return Never();
    const int64_t left = std::chrono::nanoseconds(next_due_ - Clock::now()).count();
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(left, GPR_TIMESPAN));
  }

  bool MayStart() const { return failure_.empty() && !results_.Over(Clock::now()); }

  void StartDueCalls() {
    const auto interval =
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / schedule_.rate));
    for (const Clock::time_point now = Clock::now(); next_due_ <= now; next_due_ += interval)
      StartCall(next_due_);
  }

  // Calls take turns on the channels.
  void StartCall(Clock::time_point due) {
    if (idle_.empty()) {
      calls_.push_back(std::make_unique<UnaryCall>(core_, calls_.size() % core_.channels()));
      idle_.push_back(calls_.back().get());
    }
    UnaryCall& call = *idle_.back();
    idle_.pop_back();
    ++under_way_;
    call.Start(due);
  }

  void OnEnd(UnaryCall& call) {
    const Clock::time_point now = Clock::now();
    if (call.code() == GRPC_STATUS_OK) {
      if (std::string wrong = check_.Check(call.Answer()); !wrong.empty()) failure_ = std::move(wrong);
      results_.Answered(call.due(), now);
    } else if (schedule_.rate > 0) {
      results_.Refused(call.code(), call.HasPushback(), now);
    } else {
      failure_ = call.StatusText();
    }
    call.Clear();
    --under_way_;
    idle_.push_back(&call);
    if (schedule_.rate == 0 && MayStart()) StartCall(Clock::now());
  }

  const Load& load_;
  const Schedule& schedule_;
  Core core_;
  AnswerCheck& check_;
  Results& results_;
  std::vector<std::unique_ptr<UnaryCall>> calls_;
  std::vector<UnaryCall*> idle_;
  int under_way_ = 0;
  Clock::time_point next_due_;  // of an open loop
  std::string failure_;
};

}  // namespace

std::string RunCalls(const Load& load, const Schedule& schedule, const Request& request, AnswerCheck& check,
                     Results& results) {
  return CallLoop(load, schedule, request, check, results).Run();
}

}  // namespace kldiv::bench
