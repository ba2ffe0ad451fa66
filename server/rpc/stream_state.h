#ifndef KLDIV_SERVER_RPC_STREAM_STATE_H_
#define KLDIV_SERVER_RPC_STREAM_STATE_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/batching/admission.h"
#include "server/batching/task.h"
#include "server/rpc/budget_queue.h"
#include "server/rpc/evaluation.h"
#include "server/rpc/read_gate.h"
#include "server/rpc/service_context.h"
#include "server/rpc/transport.h"

namespace kldiv::server {

// A call of EvaluateStream: reads, has pairs computed and writes results, all at the same time.
//
// Never sheds. It stops reading while max_in_flight_per_stream pairs are accepted and not yet sent, or while
// the queue has no room. However it ends, its accepted pairs are answered first, unless nobody is there any
// more.
//
// Thread-safe. Kept alive by those who may still come back to it: its call, its tasks, the registry of
// streams, the queue for budget, the worker. The call may be used until `finished_`, under `mu_`.
class StreamState final : public GateReader,
                          public BudgetQueue::Waiter,
                          public std::enable_shared_from_this<StreamState> {
 public:
  StreamState(ServiceContext& context, Call& call, Pass pass);

  // The call's events, on its polling thread.
  void Start();
  void OnMessage(std::optional<Message> message);
  void OnWritten(bool ok);
  void OnCancelled();
  void OnDone();

  // Stops reading, and ends with `status` when everything accepted is answered. Any thread.
  void End(const absl::Status& status);
  // What let it in no longer does: stops reading and ends with `status`, the first time when everything
  // accepted is answered, the second time at once. Any thread.
  void Revoke(const absl::Status& status);
  // Gives way to others, if the read that was late is still the `reads`-th. Any thread.
  void EndIdle(uint32_t reads);

  bool OnBudget() override;

 private:
  enum class ReadState : uint8_t {
    kNone,
    kAsked,     // parked or under way
    kMessage,   // a message has come and is being decoded or admitted
    kNoBudget,  // held_ waits for room or, without it, the next read does
  };
  struct Result {
    Answer answer;
    Ticket ticket;
  };
  class PairTask;

  void OnReadLate(int strikes) override;
  void OnReadRefused() override {}  // streams are told by their registry
  void OnParking() override {}

  void Receive(Message message);
  void AdmitHeld();
  absl::StatusOr<Ticket> TryAdmit();
  void Accept(Ticket ticket);
  void Enqueue(std::unique_ptr<Evaluation> evaluation, Ticket ticket);
  void TaskDone(PairTask& task);
  bool HasRoomToRead() const;

  // Makes a change under the lock, does what is next, and finishes the call when nothing is left to do: the
  // caller must not use the call afterwards.
  template <class Change>
  void Update(Change change);
  // The status to finish with, if it is time to.
  std::optional<absl::Status> Advance() KLDIV_REQUIRES(mu_);
  void WriteNext() KLDIV_REQUIRES(mu_);
  void ReadNext() KLDIV_REQUIRES(mu_);
  void BeginEnd(const absl::Status& status) KLDIV_REQUIRES(mu_);
  void Drop() KLDIV_REQUIRES(mu_);
  void DropHeld() KLDIV_REQUIRES(mu_);

  ServiceContext& context_;
  Call& call_;
  const Clock::time_point deadline_;
  std::atomic<uint32_t> reads_ = 0;      // asked for so far
  std::atomic<bool> finishing_ = false;  // Finish has been or is about to be called

  // Whoever serves a message owns these, from its arrival until read_state_ is not kMessage any more.
  Message undecoded_;                 // on its way to the worker
  std::unique_ptr<Evaluation> held_;  // decoded, not yet admitted
  int64_t last_message_bytes_ = 0;
  std::atomic<int64_t> expected_bytes_ = 0;  // what the last message took of the queue
  Clock::time_point received_at_;
  std::string flow_;  // empty until it was needed

  Mutex mu_;
  ReadState read_state_ KLDIV_GUARDED_BY(mu_) = ReadState::kNone;
  int in_flight_ KLDIV_GUARDED_BY(mu_) = 0;  // accepted and not yet sent
  std::unordered_set<Task*> tasks_ KLDIV_GUARDED_BY(mu_);
  std::deque<Result> results_ KLDIV_GUARDED_BY(mu_);     // to be written
  std::optional<Ticket> writing_ KLDIV_GUARDED_BY(mu_);  // of the result that is being written
  bool ending_ KLDIV_GUARDED_BY(mu_) = false;            // nothing more is read
  bool cancelled_ KLDIV_GUARDED_BY(mu_) = false;         // nothing more is written either
  bool revoked_ KLDIV_GUARDED_BY(mu_) = false;
  bool finished_ KLDIV_GUARDED_BY(mu_) = false;
  absl::Status end_ KLDIV_GUARDED_BY(mu_);
  std::optional<Ticket> ticket_;  // the polling thread's
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_STREAM_STATE_H_
