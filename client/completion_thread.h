#ifndef KLDIV_CLIENT_COMPLETION_THREAD_H_
#define KLDIV_CLIENT_COMPLETION_THREAD_H_

#include <grpcpp/completion_queue.h>

#include <thread>

namespace kldiv::internal {

// What a completion queue's event belongs to.
class CompletionTag {
 public:
  virtual ~CompletionTag() = default;

  // The event has come; `ok` is gRPC's. May destroy the tag. Called on the completion thread.
  virtual void Proceed(bool ok) = 0;
};

// A completion queue with CompletionTags and the thread that serves it. While it runs, gRPC's sockets are
// served even when no caller waits in gRPC.
class CompletionThread {
 public:
  CompletionThread();
  ~CompletionThread();  // Waits for outstanding events. It is not the thread itself that destroys it.

  CompletionThread(const CompletionThread&) = delete;
  CompletionThread& operator=(const CompletionThread&) = delete;

  grpc::CompletionQueue& queue() { return queue_; }

 private:
  void Run();

  grpc::CompletionQueue queue_;
  std::thread thread_;
};

}  // namespace kldiv::internal

#endif  // KLDIV_CLIENT_COMPLETION_THREAD_H_
