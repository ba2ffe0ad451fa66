#ifndef KLDIV_SERVER_RPC_READ_GATE_H_
#define KLDIV_SERVER_RPC_READ_GATE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/base/mutex.h"
#include "server/rpc/caller.h"
#include "server/rpc/read_grants.h"
#include "server/rpc/transport.h"

namespace kldiv::server {

// A call that reads through the gate. `call` outlives it.
//
// The On functions are called with the gate's lock held, so that a parked reader cannot go away meanwhile:
// they may call Call's functions and take locks that are never held while the gate is called, nothing else.
class GateReader : public ReadGrants::Reader {
 public:
  // `token`: that the call has shown; may be null.
  GateReader(Call& call, ReaderKind kind, std::shared_ptr<const Token> token)
      : Reader(kind), call_(call), token_(std::move(token)) {}

  std::string Connection() const override { return call_.peer(); }
  std::string ClientName() const override { return server::ClientName(call_, token_.get()); }
  const Token* token() const { return token_.get(); }

  // Its time is up, for the n-th time. Only while its read is under way.
  virtual void OnReadLate(int strikes) = 0;
  // It was parked and is not any more: the gate no longer serves it. Only for ReaderKind::kCall.
  virtual void OnReadRefused() = 0;
  // It is about to be parked.
  virtual void OnParking() = 0;

  // The read that was granted has ended. Its grant may be kept for what was read.
  void EndRead() { reading_.store(false, std::memory_order_relaxed); }

 private:
  friend class ReadGate;
  void StartRead() {
    reading_.store(true, std::memory_order_relaxed);
    call_.Read();
  }

  Call& call_;
  const std::shared_ptr<const Token> token_;
  std::atomic<bool> reading_ = false;
};

// The locked shell around ReadGrants: asks calls to Read when they may.
//
// Thread-safe. Outlives its readers.
class ReadGate {
 public:
  using TimePoint = ReadGrants::TimePoint;

  // At most `max_parked` readers of one client wait at a time; one at most when there is room for no more
  // than a quarter of so many.
  ReadGate(int grants, std::chrono::milliseconds read_timeout, int max_parked)
      : max_parked_(max_parked), grants_(grants, read_timeout) {}

  enum class Outcome : uint8_t {
    kReading,
    kParked,
    kRefused,  // its client has too many that wait: it will not read
  };
  // Starts the reader's Read, now or when it is granted, unless Forget or OnReadRefused comes first.
  // `room`: how many more calls there is room for.
  Outcome Ask(GateReader& reader, TimePoint now, int64_t room);

  // After the read has ended, when what it brought is charged elsewhere or gone: gives the grant back.
  // `bytes`: size of the message that came, 0 when none did.
  void Release(GateReader& reader, int64_t bytes, TimePoint now);

  // True: the reader was parked, its read will not start. False: it has started, its end has come or will.
  bool Forget(GateReader& reader);

  void RefuseParkedCalls();
  void Expire(TimePoint now);

  // Size of the last message of the call's connection as far as it is known to be large, else 0.
  int64_t LastSize(const Call& call);

  ReadGrants::Usage usage() const;

 private:
  const int max_parked_;

  mutable Mutex mu_;
  ReadGrants grants_ KLDIV_GUARDED_BY(mu_);
  std::vector<ReadGrants::Reader*> granted_ KLDIV_GUARDED_BY(mu_);  // kept for its memory
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_READ_GATE_H_
