#ifndef KLDIV_SERVER_RPC_GRPC_CALL_H_
#define KLDIV_SERVER_RPC_GRPC_CALL_H_

#include <grpc/grpc.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "server/base/mutex.h"
#include "server/rpc/call_metrics.h"
#include "server/rpc/transport.h"

namespace kldiv::server {

class GrpcCall;

// The calls of one completion queue that have begun and are not done. Thread-safe.
class LiveCalls {
 public:
  LiveCalls() = default;
  LiveCalls(const LiveCalls&) = delete;
  LiveCalls& operator=(const LiveCalls&) = delete;

  void Add(GrpcCall* call);
  void Remove(GrpcCall* call);

  // Ends every call that has been sending since before `moment`.
  void AbortSendsSince(std::chrono::steady_clock::time_point moment, const absl::Status& status);

  bool empty() const;

  // Waits until there is none, at most `timeout`. Is there none?
  bool WaitUntilNone(std::chrono::milliseconds timeout);

 private:
  mutable Mutex mu_;
  CondVar none_;
  GrpcCall* first_ KLDIV_GUARDED_BY(mu_) = nullptr;
};

// What calls of one queue share. Outlives them.
struct GrpcCallContext {
  grpc_server* server = nullptr;
  grpc_completion_queue* queue = nullptr;
  Service* service = nullptr;
  CallMetrics::Shard* metrics = nullptr;
  int64_t max_message_bytes = 0;
  LiveCalls live;
};

// A call over gRPC's core, from before its headers until its last event. It lives by references: one for the
// Finish that is owed and then under way, one for each other operation under way. Only the queue's polling
// thread drops a reference, so that thread is the one that delivers OnDone and destroys the call.
class GrpcCall final : public Call {
 public:
  // Asks gRPC for the next call of a method, registered as `registered`, or of no known method when that is
  // null. Another one is asked for when its headers come. A queue that is shut down is no longer asked.
  static void Arm(GrpcCallContext& context, Method method, void* registered);

  // Delivers an event of the queue.
  static void Deliver(void* tag, bool ok);

  GrpcCall(const GrpcCall&) = delete;
  GrpcCall& operator=(const GrpcCall&) = delete;
  ~GrpcCall() override;

  Method method() const override { return method_; }
  std::string_view path() const override;
  std::string peer() const override;
  std::string certificate_name() const override;
  std::string_view header(std::string_view name) const override;
  std::chrono::steady_clock::time_point deadline() const override;
  std::chrono::steady_clock::time_point started_at() const override { return started_at_; }

  void SetRequestId(uint64_t id) override { request_id_ = id; }
  void Read() override;
  void Write(Answer answer) override;
  void Finish(Answer answer) override;
  void Finish(const absl::Status& status, std::chrono::milliseconds retry_after) override;
  void NotifyOnCancel() override;
  void Abort(const absl::Status& status) override;

 private:
  friend class LiveCalls;

  enum Operation { kHeaders, kRead, kWrite, kFinish, kClose, kOperations };
  struct Tag {
    GrpcCall* call;
    Operation operation;
  };
  struct Aborted {
    absl::Status status;
    std::string peer;  // which gRPC forgets when it cancels the call
  };

  GrpcCall(GrpcCallContext& context, Method method, void* registered);

  bool Request();
  void OnEvent(Operation operation, bool ok);
  void OnHeaders();
  void OnRead();
  void OnLastEvent();
  absl::Status Outcome() const;
  void Start(const grpc_op* operations, size_t count, Operation operation);
  void StartFinish(grpc_byte_buffer* answer, const absl::Status& status,
                   std::chrono::milliseconds retry_after);
  void MarkSending();

  GrpcCallContext& context_;
  const Method method_;
  void* const registered_;  // gRPC's handle of the method; null when it is not a known one
  Tag tags_[kOperations];

  // Written by gRPC until the headers' event, constant afterwards.
  grpc_call* call_ = nullptr;
  gpr_timespec deadline_{};
  grpc_metadata_array metadata_;
  grpc_call_details details_;
  std::chrono::steady_clock::time_point started_at_;

  // Operands of operations under way.
  grpc_byte_buffer* received_ = nullptr;
  grpc_byte_buffer* sent_ = nullptr;
  grpc_metadata pushback_{};
  int cancelled_ = 0;

  std::unique_ptr<CallHandler> handler_;          // the polling thread's
  absl::Status finish_;                           // as Finish was told
  std::atomic<const Aborted*> aborted_{nullptr};  // by the first Abort; owned
  uint64_t request_id_ = 0;
  int64_t received_bytes_ = 0;  // the polling thread's
  int64_t sent_bytes_ = 0;      // by Write and Finish, which never overlap
  std::atomic<int> references_{1};
  bool metadata_sent_ = false;  // by Write and Finish, which never overlap
  bool watches_close_ = false;  // by NotifyOnCancel, which comes before Finish
  std::atomic<std::chrono::steady_clock::rep> sending_since_{0};  // 0: nothing is on its way to the peer

  // Guarded by context_.live's mutex.
  GrpcCall* previous_ = nullptr;
  GrpcCall* next_ = nullptr;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_GRPC_CALL_H_
