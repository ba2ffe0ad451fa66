#ifndef KLDIV_SERVER_RPC_SERVICE_CONTEXT_H_
#define KLDIV_SERVER_RPC_SERVICE_CONTEXT_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/batching/admission.h"
#include "server/batching/batcher.h"
#include "server/rpc/budget_queue.h"
#include "server/rpc/call_registry.h"
#include "server/rpc/client_quota.h"
#include "server/rpc/evaluation.h"
#include "server/rpc/read_gate.h"
#include "server/rpc/service_counters.h"
#include "server/rpc/service_options.h"
#include "server/rpc/service_phase.h"
#include "server/rpc/transport.h"
#include "server/rpc/worker.h"

namespace kldiv::server {

class StreamState;
class WatchState;

// What gRPC itself spends on an open call: measured with gRPC 1.51, one that has sent 100 bytes of a message
// costs 17 KB, which leaves the rest for ours and for the parts of a message that gRPC has buffered.
inline constexpr int64_t kCallBytes = int64_t{24} << 10;

// Messages up to this size are decoded on the polling thread. A hostile one of this size, all tiny fields,
// takes it a few milliseconds; one of the largest size would stall it for a second.
inline constexpr int64_t kPollingThreadBytes = int64_t{1} << 20;

// What the calls of a service share. Thread-safe. Outlives them.
//
// One client's calls that wait to be read hold half of the budget at most, and the last eighth of it takes
// only such of clients that have none waiting, so that few clients cannot use all of it up by opening calls.
// Calls of health are not charged to it: they have places of their own, and what they take is in what is set
// aside for connections.
//
// Locks, in the order in which they are taken: a stream's or a watcher's own; then one of those that are held
// for a few lines each and never together, the gate's, a registry's, the batcher's. Call's functions may be
// called under any of them, except Finish, which is called under none that lives in the handler.
struct ServiceContext {
  ServiceContext(const ServiceOptions& service_options, Admission& admission_budget, Batcher& task_batcher)
      : options(service_options),
        admission(admission_budget),
        batcher(task_batcher),
        gate(service_options.read_grants, service_options.read_timeout,
             static_cast<int>(CallsIn(admission_budget.max_bytes() / 2))),
        health_calls(service_options.max_health_calls) {}

  // How many open calls `bytes` of budget are good for, at least one.
  static int64_t CallsIn(int64_t bytes) { return std::max<int64_t>(1, bytes / kCallBytes); }

  // Has the reader read, now or when it is its turn.
  ReadGate::Outcome AskToRead(GateReader& reader, Clock::time_point now) {
    return gate.Ask(reader, now, (admission.max_bytes() - admission.held_bytes()) / kCallBytes);
  }

  bool refusing() const { return phase.load() == ServicePhase::kRefusing; }

  // Room for what a message brings.
  absl::StatusOr<Ticket> Admit(int64_t bytes, bool small) {
    return small ? admission.AdmitSmall(bytes) : admission.Admit(bytes);
  }

  // Tickets have been given back: streams that wait for room go on.
  void BudgetReturned() { waiting_streams.Feed(); }

  const ServiceOptions options;
  Admission& admission;
  Batcher& batcher;
  std::atomic<ServicePhase> phase = ServicePhase::kServing;
  ServiceCounters counters;
  ReadGate gate;
  ClientQuota health_calls;
  CallRegistry<StreamState> streams;
  BudgetQueue waiting_streams;
  CallRegistry<WatchState> watchers;
  // Streams whose reads were found to be late, each with the number of that read. The housekeeper's.
  std::vector<std::pair<std::shared_ptr<StreamState>, uint32_t>> late_streams;
  Worker worker;  // the first to go: its work refers to the rest
};

// Has an evaluation computed on this thread, and counts that.
inline PairTally ComputeOnArrival(ServiceContext& context, Evaluation& evaluation) {
  const Clock::time_point began = Clock::now();
  const PairTally tally = evaluation.ComputeHere();
  context.counters.compute_on_arrival.Record((Clock::now() - began).count());
  return tally;
}

// Counts pairs of a message that have an outcome.
inline void CountOutcome(ServiceCounters& counters, const Evaluation& evaluation, const PairTally& tally) {
  Count(counters.completed_pairs, static_cast<int64_t>(evaluation.valid_pairs()));
  if (tally.expired > 0) Count(counters.expired_pairs, tally.expired);
  if (tally.cancelled > 0) Count(counters.cancelled_pairs, tally.cancelled);
  counters.total.Record((Clock::now() - evaluation.began()).count());
}

// A message to be computed where it was received: few tiles, and that is allowed.
inline bool IsInline(const ServiceContext& context, int64_t tiles) {
  return tiles <= context.options.inline_tiles;
}

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_SERVICE_CONTEXT_H_
