#ifndef KLDIV_CLIENT_LOAD_RECORDER_H_
#define KLDIV_CLIENT_LOAD_RECORDER_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/load/clock.h"
#include "client/load/histogram.h"

// What becomes of a run's calls, counted while it goes on.
namespace kldiv::load {

// A call starts late when it does so this much after it was due.
inline constexpr Duration kLateStart = std::chrono::milliseconds(1);

// A call that has ended.
struct CallRecord {
  int connection = 0;
  Time due;  // when it should have started; latency counts from here
  Time ended;
  absl::StatusCode code = absl::StatusCode::kOk;  // of a batch also the code of its first pair that failed
  std::string text;                               // of the error or the wrong answer
  bool wrong = false;                             // an answer came and is not the right one
  int pairs = 0;                                  // that were answered rightly
  int64_t bytes = 0;                              // of their tensors
  std::optional<Duration> queue;                  // the server's, where it told
  std::optional<Duration> compute;
};

// Counts and distributions. Latency is that of calls answered rightly.
struct Totals {
  // Of calls that were due in the measured time, whenever they ended.
  uint64_t calls = 0;  // ended: ok, wrong or an error
  uint64_t ok = 0;
  uint64_t wrong = 0;
  uint64_t wrong_before = 0;  // of calls that were due before the measured time, and not in `calls`
  uint64_t due = 0;           // started
  uint64_t late_starts = 0;
  std::map<absl::StatusCode, uint64_t> errors;
  std::map<absl::StatusCode, std::string> error_texts;  // the first of each
  std::string wrong_text;                               // the first, of both kinds
  Histogram latency;
  Histogram start_delay;  // from when they were due to when they started
  Histogram queue;
  Histogram compute;
  // Of calls that were answered in the measured time, whenever they were due: what the rates are made of.
  uint64_t answered = 0;
  uint64_t answered_pairs = 0;
  int64_t answered_bytes = 0;

  // Ended with an error.
  uint64_t failed() const { return calls - ok - wrong; }

  void Merge(const Totals& other);
};

// What happened in one stretch of the run.
struct Window {
  int64_t index = 0;     // 0: the first of the measured time; before that negative
  uint64_t offered = 0;  // calls that were due in it
  uint64_t ok = 0;       // answers that came in it, of each kind
  uint64_t wrong = 0;
  uint64_t errors = 0;
  Histogram latency;

  void Merge(const Window& other);
};

// Thread-safe. Threads that record for different connections do not wait for each other, mostly.
class Recorder {
 public:
  // The measured time begins at `begin`; `window` is the length of a window.
  Recorder(Time begin, Duration window, int connections);

  Time begin() const { return begin_; }
  Duration window() const { return window_; }

  // Ends the measured time: what is answered from `end` on counts for no rate. May be called again.
  void SetEnd(Time end) { end_ = end; }
  Time end() const { return end_; }

  // A call that was due at `due` starts.
  void RecordStart(int connection, Time due, Time started);
  // It has ended.
  void RecordEnd(const CallRecord& call);

  // Takes all windows up to the one before `index`, in order and without gaps, since the last one taken. What
  // is recorded for these later counts in the first that is left.
  std::vector<Window> TakeWindows(int64_t index);
  // The index of the window that `time` is in.
  int64_t WindowAt(Time time) const;

  Totals totals() const;
  Time last_end() const;  // of the calls in the totals; begin() when there are none

 private:
  // What some of the connections record.
  struct Shard {
    std::mutex mu;
    // Guarded by mu.
    Totals totals;
    std::deque<std::unique_ptr<Window>> windows;  // in order
    int64_t first_window = INT64_MIN;             // those before have been taken
    Time last_end = Time::min();
  };

  Shard& ShardOf(int connection) { return *shards_[static_cast<size_t>(connection) % shards_.size()]; }
  Window& WindowOf(Shard& shard, Time time) const;  // The caller holds the shard's lock.

  const Time begin_;
  const Duration window_;
  std::atomic<Time> end_ = Time::max();
  std::vector<std::unique_ptr<Shard>> shards_;
  int64_t next_window_ = INT64_MIN;  // of TakeWindows, which one thread calls
};

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_RECORDER_H_
