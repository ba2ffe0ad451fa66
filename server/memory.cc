#include "server/memory.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

namespace kldiv::server {
namespace {

// More than any heap of ours: nothing is trimmed by free().
constexpr int kTrimThreshold = 2'000'000'000;
constexpr int kTopPad = 64 << 20;
// malloc_trim returns the top of the main arena only: with more arenas, 106 MB stayed after a burst instead
// of 17.
constexpr int kArenas = 1;

constexpr int64_t kBurst = 4 << 20;      // growth that counts as one
constexpr int64_t kQuietTick = 1 << 20;  // received in a tick without disturbing a trim
constexpr int kTrimsAfterBurst = 3;      // connections give up their buffers late
constexpr int kTicksBetweenTrims = 16;   // without a burst

}  // namespace

void TuneMalloc() {
  mallopt(M_TRIM_THRESHOLD, kTrimThreshold);
  mallopt(M_TOP_PAD, kTopPad);
  mallopt(M_ARENA_MAX, kArenas);
}

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total_pages = 0;
  int64_t resident_pages = 0;
  if (!(statm >> total_pages >> resident_pages)) return 0;
  return resident_pages * sysconf(_SC_PAGESIZE);
}

void TrimMemory() { malloc_trim(0); }

bool MemoryTrimmer::ShouldTrim(const Sample& sample) {
  const int64_t received = sample.received_bytes - std::exchange(received_before_, sample.received_bytes);
  ++untrimmed_;
  if (sample.resident_bytes > floor_ + kBurst) trims_left_ = kTrimsAfterBurst;
  if (sample.resident_bytes > idle_ + kBurst && untrimmed_ >= kTicksBetweenTrims) {
    trims_left_ = std::max(trims_left_, 1);
  }
  return trims_left_ > 0 && received < kQuietTick && sample.held_bytes == 0;
}

void MemoryTrimmer::Trimmed(int64_t resident_bytes) {
  --trims_left_;
  untrimmed_ = 0;
  floor_ = resident_bytes;
}

}  // namespace kldiv::server
