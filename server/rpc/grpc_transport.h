#ifndef KLDIV_SERVER_RPC_GRPC_TRANSPORT_H_
#define KLDIV_SERVER_RPC_GRPC_TRANSPORT_H_

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "server/rpc/call_metrics.h"
#include "server/rpc/transport.h"

namespace kldiv::server {

struct GrpcTransportOptions {
  CallMetrics* metrics = nullptr;                   // told of every call; outlives the transport
  int polling_threads = 1;                          // at least 1, each with a completion queue of its own
  int64_t max_message_bytes = 64 << 20;             // larger messages are refused
  int64_t max_memory = 1 << 30;                     // gRPC's own hard stop, in bytes
  std::chrono::milliseconds write_timeout{30'000};  // for an answer that the peer does not take
  std::function<void()> on_thread_start;            // run first on each polling thread; may be empty
  // A connection this old, give or take a tenth, is asked to take no new call, and ended kConnectionAgeGrace
  // later at the latest; 0: none is.
  std::chrono::milliseconds max_connection_age{0};
  bool health_only = false;  // calls of kldiv.v1 are unknown methods
};

// Bytes that gRPC may buffer for a call that nobody reads yet, per connection.
inline constexpr int kLookaheadBytes = 64 << 10;

// What open calls of a connection have left once it has reached max_connection_age.
inline constexpr std::chrono::seconds kConnectionAgeGrace{30};

// Real calls: gRPC's completion queues, each with a polling thread. Every method is registered as a
// bidirectional stream, so that gRPC hands over the headers alone and reads nothing until it is asked; on the
// wire a unary call looks the same.
//
// Thread-safe, apart from the order Create, BuildAndStart, Start, Shutdown of the server, Stop.
class GrpcTransport {
 public:
  // Adds methods, queues and settings to `builder`. The transport outlives the server that it builds.
  static std::unique_ptr<GrpcTransport> Create(const GrpcTransportOptions& options,
                                               grpc::ServerBuilder& builder);

  virtual ~GrpcTransport() = default;

  // Begins to take calls. `server` is what the builder made; `service` outlives Stop.
  virtual void Start(grpc::Server& server, Service& service) = 0;

  // Ends calls whose answers have not been taken within write_timeout. To be called a few times a second.
  virtual void Tick(std::chrono::steady_clock::time_point now) = 0;

  // Waits until no call is open, at most `timeout`. Is none?
  virtual bool WaitUntilIdle(std::chrono::milliseconds timeout) = 0;

  // Ends the polling threads, after the server's Shutdown has returned and when every Finish has been called
  // or soon will be. False: a call has not ended within `timeout`; the process must then exit without
  // destroying the transport or the service.
  virtual bool Stop(std::chrono::milliseconds timeout) = 0;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_GRPC_TRANSPORT_H_
