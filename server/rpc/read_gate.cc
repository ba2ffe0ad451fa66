#include "server/rpc/read_gate.h"

#include "server/batching/admission.h"

namespace kldiv::server {

ReadGate::Outcome ReadGate::Ask(GateReader& reader, TimePoint now, int64_t room) {
  {
    MutexLock lock(mu_);
    if (!grants_.Take(reader, now)) {
      const int parked = grants_.ParkedBySame(reader);
      if (parked >= max_parked_ || (parked > 0 && room <= max_parked_ / 4)) return Outcome::kRefused;
      reader.OnParking();
      grants_.Park(reader);
      return Outcome::kParked;
    }
  }
  reader.StartRead();
  return Outcome::kReading;
}

void ReadGate::Release(GateReader& reader, int64_t bytes, TimePoint now) {
  MutexLock lock(mu_);
  if (bytes > 0) grants_.NoteSize(reader, bytes);
  grants_.Release(reader, now, granted_);
  for (ReadGrants::Reader* next : granted_) static_cast<GateReader*>(next)->StartRead();
  granted_.clear();
}

bool ReadGate::Forget(GateReader& reader) {
  MutexLock lock(mu_);
  return grants_.Forget(reader);
}

void ReadGate::RefuseParkedCalls() {
  MutexLock lock(mu_);
  for (ReadGrants::Reader* reader : grants_.ForgetParkedCalls())
    static_cast<GateReader*>(reader)->OnReadRefused();
}

void ReadGate::Expire(TimePoint now) {
  std::vector<ReadGrants::Late> late;
  MutexLock lock(mu_);
  grants_.Expire(now, late);
  for (const auto& [reader, strikes] : late) {
    auto* const reading = static_cast<GateReader*>(reader);
    if (!reading->reading_.load(std::memory_order_relaxed)) continue;
    // Who is slow once is taken for one that sends large messages.
    grants_.NoteSize(*reading, kSmallMessageBytes + 1);
    reading->OnReadLate(strikes);
  }
}

int64_t ReadGate::LastSize(const Call& call) {
  {
    MutexLock lock(mu_);
    if (!grants_.KnowsLargeConnections()) return 0;
  }
  const std::string connection = call.peer();
  MutexLock lock(mu_);
  return grants_.LastSize(connection);
}

ReadGrants::Usage ReadGate::usage() const {
  MutexLock lock(mu_);
  return grants_.usage();
}

}  // namespace kldiv::server
