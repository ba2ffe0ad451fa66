#ifndef KLDIV_CLIENT_ASYNC_CALL_H_
#define KLDIV_CLIENT_ASYNC_CALL_H_

#include <grpcpp/alarm.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/async_unary_call.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "client/connection.h"

namespace kldiv::internal {

class AsyncCalls;

// A unary call that nobody waits for: asks for the server's limit when the message is large, makes the call,
// waits until its memory is free, calls back. Owns itself from Start to the callback.
class AsyncCall : public CompletionTag {
 public:
  // How the call ended, and with OK the message of the answer.
  using Done = std::function<void(absl::Status, grpc::ByteBuffer& response)>;

  // `method` is one of the connection's.
  AsyncCall(AsyncCalls& calls, Connection& connection, const grpc::internal::RpcMethod& method,
            wire::Parts message, Deadline deadline, Done done);

  // Once. This object may be gone when it returns.
  void Start();

  // Has the call end soon. Thread-safe.
  void Cancel();

 private:
  enum class Step { kLearning, kCalling, kReturning };

  void Proceed(bool ok) override;
  void StartMethod();
  void StartCall(Step step, const grpc::internal::RpcMethod& method, const wire::Parts& message);
  absl::Status EndCall();
  absl::Status TakeStatus();
  void FinishLearning();
  void FinishCalling();
  void Complete(absl::Status status);

  AsyncCalls& calls_;
  Connection& connection_;
  const grpc::internal::RpcMethod& method_;
  const wire::Parts message_;
  const Deadline deadline_;

  // Used by one event at a time.
  Done done_;
  Step step_ = Step::kLearning;
  LentMemory memory_;
  grpc::ByteBuffer response_;
  grpc::Status status_;
  absl::Status result_;               // kept while memory is out
  std::optional<grpc::Alarm> alarm_;  // brings a foreign thread's news to the completion thread

  std::mutex mu_;
  // Guarded by mu_.
  std::optional<grpc::ClientContext> context_;  // of the call under way, in which the reader lives
  std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::ByteBuffer>> reader_;
  bool cancelled_ = false;
};

// The asynchronous calls under way. Thread-safe.
class AsyncCalls {
 public:
  AsyncCalls() = default;
  ~AsyncCalls();  // Cancels them and waits until they have called back.

  AsyncCalls(const AsyncCalls&) = delete;
  AsyncCalls& operator=(const AsyncCalls&) = delete;

  void Add(AsyncCall* call);     // It has been started.
  void Remove(AsyncCall* call);  // It is about to go, and to call back.
  void CalledBack();             // One that was removed has called back.

 private:
  std::mutex mu_;
  std::condition_variable all_called_back_;
  // Guarded by mu_.
  std::unordered_set<AsyncCall*> calls_;
  int64_t not_called_back_ = 0;
};

}  // namespace kldiv::internal

#endif  // KLDIV_CLIENT_ASYNC_CALL_H_
