#ifndef KLDIV_SERVER_RPC_TRANSPORT_H_
#define KLDIV_SERVER_RPC_TRANSPORT_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "proto/wire/encode.h"
#include "proto/wire/slices.h"
#include "server/rpc/method.h"

// A call as the service sees it, over real gRPC or a test's fake. Nothing here knows gRPC.
//
// A call begins with its headers: nothing of its body is read until the service asks. All methods look alike:
// a unary call is one Read and one Finish with an answer; a stream is many Reads and Writes, then Finish.
namespace kldiv::server {

// The bytes of a received message. Move-only; gives the memory back when it is destroyed. Moving it does not
// move the bytes or the array of slices.
class Message {
 public:
  // What holds the memory.
  class Holder {
   public:
    virtual ~Holder() = default;
  };

  Message() = default;
  Message(std::span<const wire::Slice> slices, size_t size, std::unique_ptr<Holder> holder)
      : slices_(slices), size_(size), holder_(std::move(holder)) {}

  std::span<const wire::Slice> slices() const { return slices_; }
  size_t size() const { return size_; }  // bytes

 private:
  std::span<const wire::Slice> slices_;
  size_t size_ = 0;
  std::unique_ptr<Holder> holder_;
};

// A message to send: parts, and the memory that its references point to (a reference's tag is an index into
// `memory`). The transport keeps the memory until it has been sent.
struct Answer {
  wire::Parts parts;
  std::vector<std::unique_ptr<uint8_t[]>> memory;
};

// What the service does about a call. Its functions are called by the transport, one at a time for a call,
// on the call's polling thread; none blocks.
class CallHandler {
 public:
  virtual ~CallHandler() = default;

  // The end of a Read: a message, or nullopt: there is none any more (half-closed by the client, cancelled,
  // the peer is gone, or it sent what may not be: too large or compressed, and the transport has ended the
  // call with the fitting status).
  virtual void OnMessage(std::optional<Message> message) = 0;

  // The end of a Write; false: it did not leave, and no later one will.
  virtual void OnWritten(bool ok) = 0;

  // The client has cancelled, its deadline has passed, or it is gone. At most once; only after
  // Call::NotifyOnCancel, and only before OnDone. Finish is still owed.
  virtual void OnCancelled() = 0;

  // The last event: Finish was called, its status has left or cannot leave, nothing is under way. The call
  // and the handler are destroyed when it returns.
  virtual void OnDone() = 0;
};

// One call, the transport's side. Read, Write, Finish, NotifyOnCancel and Abort may be called from any
// thread between the call's start and OnDone; they never call the handler back before they return. Whoever
// calls must know that OnDone has not come: it never comes before Finish, nor while a Read or a Write is
// under way. Sending (Write, Finish) and receiving (Read, NotifyOnCancel) may each be done by one thread at a
// time.
class Call {
 public:
  virtual ~Call() = default;

  virtual Method method() const = 0;
  // Path of the call: "/kldiv.v1.KlDivergence/Evaluate".
  virtual std::string_view path() const = 0;
  // "ipv4:10.0.0.1:5000", "ipv6:%5B::1%5D:5000", "unix:". Costs an allocation: only where it is needed.
  virtual std::string peer() const = 0;
  // The name in the certificate that the client has proven to be its own: the first of its alternative names,
  // else its common name; empty when it has shown none. Costs an allocation: only where it is needed.
  virtual std::string certificate_name() const = 0;
  // Value of a request header (lower-case name); empty when there is none.
  virtual std::string_view header(std::string_view name) const = 0;
  // When the client gives up; max() when it never does.
  virtual std::chrono::steady_clock::time_point deadline() const = 0;
  // When the headers came.
  virtual std::chrono::steady_clock::time_point started_at() const = 0;

  // Names the request in what is logged about the call, should it fail. Before Finish; 0: it has no name.
  virtual void SetRequestId(uint64_t id) = 0;

  // Asks for the next message; OnMessage follows. One at a time.
  virtual void Read() = 0;
  // Sends a message of a stream; OnWritten follows. One at a time.
  virtual void Write(Answer answer) = 0;

  // Ends the call, exactly once: with an answer (a unary call's), or with a status. `retry_after` > 0 becomes
  // the trailing metadata `grpc-retry-pushback-ms`. OnDone follows.
  virtual void Finish(Answer answer) = 0;
  virtual void Finish(const absl::Status& status, std::chrono::milliseconds retry_after) = 0;
  void Finish(const absl::Status& status) { Finish(status, std::chrono::milliseconds(0)); }

  // From now on OnCancelled tells of a cancel. Costs an operation: for calls that wait. At most once, before
  // Finish.
  virtual void NotifyOnCancel() = 0;

  // Ends the exchange at once with `status`, whatever is under way: reads and writes then end as failed, and
  // what was to be sent is dropped. For a peer that does not send or take what it should. Finish is still
  // owed if it was not called; what it says no longer matters. May be called several times; the first one
  // counts.
  virtual void Abort(const absl::Status& status) = 0;
};

// Makes the handlers. Thread-safe; outlives every call.
class Service {
 public:
  virtual ~Service() = default;

  // A call has come, with its headers. `call` outlives the handler. The service may already Read or Finish in
  // here.
  virtual std::unique_ptr<CallHandler> OnCall(Call& call) = 0;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_TRANSPORT_H_
