#ifndef KLDIV_SERVER_RPC_EVALUATION_H_
#define KLDIV_SERVER_RPC_EVALUATION_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/wire/decode.h"
#include "proto/wire/encode.h"
#include "server/batching/task.h"
#include "server/rpc/transport.h"

namespace kldiv::server {

// Moments in the life of a message's pairs.
struct EvaluationTimes {
  Clock::time_point began;     // total_ns counts from here: the call's headers, or a stream's message
  Clock::time_point received;  // of the message: the pairs' own timeouts count from here
  Clock::time_point deadline = Clock::time_point::max();  // the call's
};

// What has become of valid pairs.
struct PairTally {
  int64_t expired = 0;    // not computed: their deadline had passed
  int64_t cancelled = 0;  // not computed: nobody waits any more
};

// The pairs of one message of Evaluate, EvaluateBatch or EvaluateStream, from its bytes to its answer.
//
// In this order: a Decode; Admitted; either ComputeHere or FillTask and, when that task is done, TakeResults;
// one of the answers. Belongs to one owner at a time; a task that it has filled refers to it and must be done
// before it goes.
class Evaluation {
 public:
  Evaluation() = default;
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

  // Takes the message over. INVALID_ARGUMENT: it cannot be decoded. A pair's own fault becomes its answer. A
  // pair's own timeout counts in batches and, where `pair_timeouts` says so, in single pairs.
  absl::Status DecodePair(Message message, const EvaluationTimes& times, bool pair_timeouts);
  absl::Status DecodeBatch(Message message, const EvaluationTimes& times, int64_t max_pairs);

  // After DecodePair: what the client has named the pair, and the pair's own fault, if it has one.
  uint64_t request_id() const { return pair_.request_id; }
  const absl::Status& pair_fault() const { return pair_.status; }
  // Makes it the pair's fault and gives the message back.
  void FailPair(absl::Status fault);
  // Gives the message back where nothing is to be computed.
  void DropMessage() { message_ = Message(); }

  // When total_ns began.
  Clock::time_point began() const { return times_.began; }

  size_t pairs() const { return requests_.size(); }  // valid or not
  size_t valid_pairs() const { return valid_pairs_; }
  int64_t tiles() const { return tiles_; }  // of valid pairs, each at least one
  int64_t message_bytes() const { return static_cast<int64_t>(message_.size()); }

  // What the pairs cost the queue: the message, their bookkeeping and their pointwise answers.
  int64_t queue_bytes() const { return message_bytes() + charge_; }

  // They have been admitted: makes room for pointwise answers.
  void Admitted();

  // Computes on this thread those whose deadline has not passed. Gives the message back.
  PairTally ComputeHere();

  // Fills the task's pairs, of which there are valid_pairs().
  void FillTask(Task& task);
  // Gives the message back.
  PairTally TakeResults(Task& task);

  // The answer, once. Of Evaluate, where a pair that failed is a status:
  absl::StatusOr<Answer> TakeResponse();
  // Of EvaluateStream:
  Answer TakeResult();
  // Of EvaluateBatch:
  Answer TakeBatchResponse();

 private:
  void Examine(std::span<wire::PairRequest> requests, const EvaluationTimes& times, bool pair_timeouts);
  void BeginAnswers();
  Clock::time_point DeadlineOf(const wire::PairRequest& request) const;
  void EndAnswer(const wire::PairRequest& request, wire::PairAnswer& answer, double sum) const;
  void StampTotals();
  Answer WithPointwise(wire::Parts parts);

  Message message_;
  EvaluationTimes times_;
  bool pair_timeouts_ = false;
  wire::PairRequest pair_;                 // of a message with one
  std::vector<wire::PairRequest> batch_;   // of a batch
  std::span<wire::PairRequest> requests_;  // either
  size_t valid_pairs_ = 0;
  int64_t tiles_ = 0;
  int64_t charge_ = 0;
  int64_t pointwise_bytes_ = 0;
  bool want_timing_ = false;  // some pair does

  Clock::time_point admitted_at_;         // only where want_timing_
  std::unique_ptr<uint8_t[]> pointwise_;  // all pointwise answers, one after another
  wire::PairAnswer answer_;
  std::vector<wire::PairAnswer> batch_answers_;
  std::span<wire::PairAnswer> answers_;  // one for each request
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_EVALUATION_H_
