#ifndef KLDIV_CLIENT_LOAD_OPEN_LOOP_H_
#define KLDIV_CLIENT_LOAD_OPEN_LOOP_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "client/load/generator.h"
#include "client/load/schedule.h"

namespace kldiv::load {

// Calls start when a schedule says, whether those before have ended or not, and their latency counts from
// then: neither a server that stalls nor a generator that is late hides anything.
//
// No call is skipped. When kMaxUnderWay calls are under way, some 1 GB of gRPC's memory, the next one starts
// as soon as one has ended: late.
class OpenLoop : public Generator {
 public:
  static constexpr int64_t kMaxUnderWay = 65536;

  // The schedule begins at `first`. `threads` start calls; a call that is late delays the others of its
  // thread alone. `max_under_way`: for tests.
  OpenLoop(Rig rig, Limits limits, int pairs_per_call, Time first, Schedule schedule, int threads,
           int64_t max_under_way = kMaxUnderWay);
  ~OpenLoop() override;

  void Start() override;
  void Stop() override;
  bool StartedAll() const override { return issuing_ == 0; }

  // What each of the threads does: starts calls until all have been started or Stop. Instead of Start, for
  // tests with a clock of their own.
  void Issue();

 private:
  struct Arrival {
    uint64_t index;
    Time due;
  };

  void Ended(Call& call, absl::StatusCode code) override;
  std::optional<Arrival> NextArrival();
  // A call to start, when there is room for one; none after Stop.
  Call* TakeCall();

  const Time first_;
  const int threads_;
  const int64_t max_under_way_;
  std::stop_source stop_;
  std::atomic<int> issuing_;

  std::mutex schedule_mu_;
  // Guarded by schedule_mu_.
  Schedule schedule_;
  uint64_t next_ = 0;

  std::mutex calls_mu_;
  std::condition_variable room_;
  // Guarded by calls_mu_.
  std::vector<std::unique_ptr<Call>> calls_;
  std::vector<Call*> free_;

  std::vector<std::thread> issuers_;
};

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_OPEN_LOOP_H_
