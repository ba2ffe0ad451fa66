#ifndef KLDIV_SERVER_RPC_SERVICE_H_
#define KLDIV_SERVER_RPC_SERVICE_H_

#include <chrono>
#include <memory>

#include "server/batching/admission.h"
#include "server/batching/batcher.h"
#include "server/rpc/read_grants.h"
#include "server/rpc/service_counters.h"
#include "server/rpc/service_options.h"
#include "server/rpc/service_phase.h"
#include "server/rpc/transport.h"

namespace kldiv::server {

// kldiv.v1.KlDivergence and grpc.health.v1.Health: what is done about each call, on any transport.
//
// Every call that it is told of ends with exactly one status, and every pair that it admits is completed
// once. Thread-safe. Starts in ServicePhase::kServing.
class EvaluationService : public Service {
 public:
  // `admission` and `batcher` outlive the service; lanes must pull from the batcher for as long as calls are
  // open.
  static std::unique_ptr<EvaluationService> Create(const ServiceOptions& options, Admission& admission,
                                                   Batcher& batcher);

  // In kRefusing, also ends what waits to be read, and streams when what they accepted is answered.
  virtual void SetPhase(ServicePhase phase) = 0;

  // Ends all calls of Watch. Not before kRefusing: a client would come back.
  virtual void EndWatchers() = 0;

  // Is a call of kldiv.v1 open that was let in?
  virtual bool Busy() const = 0;
  // Is one of them owed something: has its message come, or is it a stream?
  virtual bool Owes() const = 0;
  // Since a call of kldiv.v1 came last, or since the start.
  virtual std::chrono::steady_clock::duration Quiet(std::chrono::steady_clock::time_point now) const = 0;

  // Keeps --read_timeout. To be called about every 100 ms, by one thread at a time.
  virtual void Tick(std::chrono::steady_clock::time_point now) = 0;

  virtual const ServiceCounters& counters() const = 0;
  virtual ReadGrants::Usage read_grants() const = 0;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_SERVICE_H_
