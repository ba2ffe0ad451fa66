#ifndef KLDIV_SERVER_RPC_WATCH_CALL_H_
#define KLDIV_SERVER_RPC_WATCH_CALL_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "server/base/mutex.h"
#include "server/batching/admission.h"
#include "server/rpc/health_messages.h"
#include "server/rpc/read_gate.h"
#include "server/rpc/service_context.h"
#include "server/rpc/transport.h"

namespace kldiv::server {

// A call of grpc.health.v1's Watch: the state of a service now, and again whenever it changes. Costs nothing
// while it waits.
//
// Thread-safe. Kept alive by its call and by the registry of watchers.
class WatchState final : public GateReader, public std::enable_shared_from_this<WatchState> {
 public:
  WatchState(ServiceContext& context, Call& call, Pass pass);

  // The call's events, on its polling thread.
  void Start();
  void OnMessage(std::optional<Message> message);
  void OnWritten(bool ok);
  void OnCancelled();
  void OnDone();

  // The server's phase has changed. Any thread.
  void Tell();
  // No more is told. Any thread.
  void End(const absl::Status& status);

 private:
  void OnReadLate(int strikes) override;
  void OnReadRefused() override {}
  void OnParking() override {}

  template <class Change>
  void Update(Change change);

  ServiceContext& context_;
  Call& call_;
  std::optional<ClientQuota::Place> health_;
  std::optional<Ticket> ticket_;  // the polling thread's

  Mutex mu_;
  bool reading_ KLDIV_GUARDED_BY(mu_) = true;                 // the request: parked or under way
  std::optional<std::string> service_ KLDIV_GUARDED_BY(mu_);  // that is watched, once it is known
  std::optional<HealthStatus> told_ KLDIV_GUARDED_BY(mu_);
  bool writing_ KLDIV_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> end_ KLDIV_GUARDED_BY(mu_);  // why it ends
  bool finished_ KLDIV_GUARDED_BY(mu_) = false;
};

// The handler of a call of Watch that has been let in with `pass`. Starts it.
std::unique_ptr<CallHandler> StartWatchCall(ServiceContext& context, Call& call, Pass pass);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_WATCH_CALL_H_
