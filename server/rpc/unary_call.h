#ifndef KLDIV_SERVER_RPC_UNARY_CALL_H_
#define KLDIV_SERVER_RPC_UNARY_CALL_H_

#include <atomic>
#include <optional>

#include "absl/status/status.h"
#include "server/batching/admission.h"
#include "server/rpc/read_gate.h"
#include "server/rpc/service_context.h"
#include "server/rpc/transport.h"

namespace kldiv::server {

// A call with one message and one answer, from its headers to its end; what is between is the subclass's.
//
// Finishes exactly once: when it is refused while it waits for its read, or else after its message came.
class UnaryCall : public CallHandler, public GateReader {
 public:
  UnaryCall(ServiceContext& context, Call& call, Pass pass, ReaderKind kind = ReaderKind::kCall);

  // Asks for the message. Right after construction.
  void Start();

  void OnMessage(std::optional<Message> message) final;
  void OnWritten(bool) final {}
  void OnCancelled() final;
  void OnDone() override;

 protected:
  // The message has come. Must end in Finish and Release the gate, on this thread or another one.
  virtual void Serve(Message message) = 0;
  // Nobody waits any more. On the polling thread, perhaps while another one serves the message.
  virtual void Cancelled() {}

  // From now on a cancel is told. Before the call waits for anything.
  void WatchCancel();
  bool cancelled() const { return cancelled_.load(); }

  void ReleaseGate(int64_t bytes) { context_.gate.Release(*this, bytes, received_at_); }
  Clock::time_point received_at() const { return received_at_; }
  Clock::time_point deadline() const { return deadline_; }

  ServiceContext& context_;
  Call& call_;

 private:
  void OnReadLate(int strikes) override;
  void OnReadRefused() override;
  void OnParking() override { WatchCancel(); }
  void SetUnread(bool unread);

  const ReaderKind kind_;
  const Clock::time_point deadline_;
  Clock::time_point received_at_;
  std::optional<ClientQuota::Place> health_;
  std::optional<Ticket> ticket_;
  bool watches_cancel_ = false;
  bool unread_ = false;  // counted as such
  std::atomic<bool> cancelled_ = false;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_UNARY_CALL_H_
