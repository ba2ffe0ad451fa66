#ifndef KLDIV_CLIENT_LOAD_GENERATOR_H_
#define KLDIV_CLIENT_LOAD_GENERATOR_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <vector>

#include "client/load/clock.h"
#include "client/load/recorder.h"
#include "client/load/target.h"
#include "client/load/workload.h"

namespace kldiv::load {

// What a generator works with; all outlive it.
struct Rig {
  const Workload& workload;
  Target& target;
  Recorder& recorder;
  Clock& clock;
};

// When to stop starting calls.
struct Limits {
  Time end = Time::max();       // none is due from here on
  uint64_t calls = UINT64_MAX;  // so many are due in the measured time
};

// Starts the calls of a run and judges their answers.
class Generator {
 public:
  Generator(Rig rig, Limits limits, int pairs_per_call)
      : rig_(rig), limits_(limits), pairs_per_call_(pairs_per_call) {}
  // Every call has ended: Stop, and the target has called back.
  virtual ~Generator() = default;

  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  // Begins to start calls.
  virtual void Start() = 0;
  // To be called every few milliseconds while it runs.
  virtual void Tend() {}
  // Starts no more calls; does not wait for those under way. Idempotent.
  virtual void Stop() = 0;
  // Has it started all calls that it will start?
  virtual bool StartedAll() const = 0;

  // Calls that have not ended.
  int64_t under_way() const { return under_way_; }

 protected:
  struct Call {
    Time due;
    int connection = 0;
    std::vector<const Item*> items;
    std::vector<Pair> pairs;
  };

  // Makes `call` the `index`-th one and starts it now. Ended is called when it has ended, on any thread or
  // before this returns.
  void StartCall(Call& call, uint64_t index, Time due);
  // The last that a call does, but for telling under_way.
  virtual void Ended(Call& call, absl::StatusCode code) = 0;

  // Whether another call may be due at `due`, and counts it.
  bool MayStart(Time due);

  const Rig& rig() const { return rig_; }

 private:
  void Finish(Call& call, const absl::Status& status, std::span<const absl::StatusOr<Evaluation>> answers);

  const Rig rig_;
  const Limits limits_;
  const int pairs_per_call_;
  std::atomic<uint64_t> measured_ = 0;
  std::atomic<int64_t> under_way_ = 0;
};

// So many calls are always under way: the end of one starts the next, on the target's thread.
//
// Where a call fails with UNAVAILABLE, which costs no server anything, its successor waits for kPause.
class ClosedLoop : public Generator {
 public:
  static constexpr Duration kPause = std::chrono::milliseconds(10);

  ClosedLoop(Rig rig, Limits limits, int pairs_per_call, int concurrency);

  void Start() override;
  void Tend() override;
  void Stop() override;
  bool StartedAll() const override { return resting_ == slots_.size(); }

 private:
  // One of the calls that are under way.
  struct Slot : Call {
    enum State { kStarting, kStarted, kEnded };
    std::atomic<State> state = kStarting;
    bool failed = false;  // the call that has ended did so with UNAVAILABLE
  };

  void Ended(Call& call, absl::StatusCode code) override;
  // Starts calls until one of them is under way.
  void RunSlot(Slot& slot);
  // Whether the slot's next call may start at once.
  bool MayGoOn(Slot& slot);

  std::vector<std::unique_ptr<Slot>> slots_;
  std::atomic<uint64_t> next_ = 0;
  std::atomic<bool> stopped_ = false;
  std::atomic<size_t> resting_ = 0;  // slots that start no more calls

  std::mutex mu_;
  struct Paused {
    Slot* slot;
    Time until;
  };
  std::vector<Paused> paused_;  // guarded by mu_; in the order of `until`
};

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_GENERATOR_H_
