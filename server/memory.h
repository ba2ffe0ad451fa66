#ifndef KLDIV_SERVER_MEMORY_H_
#define KLDIV_SERVER_MEMORY_H_

#include <cstdint>

namespace kldiv::server {

// Tells malloc to keep what is freed instead of returning it to the system with every message: page faults
// cost more than the copying of a message otherwise. What a burst left behind goes back by TrimMemory. To be
// called first in main, before any other thread.
void TuneMalloc();

// Bytes of this process in physical memory; 0 when the system does not say.
int64_t ResidentBytes();

// Returns to the system what malloc holds and nobody uses. Takes milliseconds; thread-safe.
void TrimMemory();

// When to call TrimMemory: after a burst has passed. Resident memory is the sign of a burst, not the messages
// received: those that never became whole, of peers that died, are counted by nobody. What is still in use
// then, such as that of connections that end later, stays resident when it is freed and is no sign of
// anything: so a server that is larger than it was when idle is trimmed every 16 s as well.
//
// Pure policy, fed once a second. Not thread-safe.
class MemoryTrimmer {
 public:
  struct Sample {
    int64_t resident_bytes = 0;
    int64_t received_bytes = 0;  // of messages, since the start
    int64_t held_bytes = 0;      // by accepted and unanswered work
  };

  // `resident_bytes`: of the idle server.
  explicit MemoryTrimmer(int64_t resident_bytes) : idle_(resident_bytes), floor_(resident_bytes) {}

  // True: trim now, then tell Trimmed.
  bool ShouldTrim(const Sample& sample);

  // Memory has been trimmed, and is `resident_bytes` now.
  void Trimmed(int64_t resident_bytes);

 private:
  const int64_t idle_;
  int64_t floor_;                // resident bytes when last idle or trimmed
  int64_t received_before_ = 0;  // of the previous sample
  int trims_left_ = 0;
  int untrimmed_ = 0;  // samples since the last trim
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_MEMORY_H_
