#include "tests/cuda_host/warp.h"

#include <bit>

namespace kldiv::cuda_host {
namespace {

// Calls visit(lane) for each bit of `lanes`.
template <class Visit>
void ForEachLane(unsigned lanes, Visit visit) {
  for (; lanes != 0; lanes &= lanes - 1) visit(std::countr_zero(lanes));
}

}  // namespace

void Warp::Reset() {
  lanes_ = {};
  alive_ = 0;
  waiting_ = 0;
  sync_generation_ = 0;
}

void Warp::SetLane(int lane, DeviceThread* thread) {
  lanes_[lane] = thread;
  alive_ |= 1u << lane;
}

DeviceThread* Warp::Arrive(int lane) {
  waiting_ |= 1u << lane;
  return CompleteGroup(lanes_[lane]->mask);
}

DeviceThread* Warp::End(int lane) {
  alive_ &= ~(1u << lane);
  // Its absence may be what others waited for.
  DeviceThread* mismatch = nullptr;
  ForEachLane(waiting_, [&](int other) {
    if ((waiting_ >> other & 1) == 0 || mismatch != nullptr) return;
    mismatch = CompleteGroup(lanes_[other]->mask);
  });
  return mismatch;
}

DeviceThread* Warp::CompleteGroup(unsigned mask) {
  const unsigned present = mask & alive_;
  if (present == 0 || (present & ~waiting_) != 0) return nullptr;

  const DeviceThread& first = *lanes_[std::countr_zero(present)];
  DeviceThread* mismatch = nullptr;
  unsigned ballot = 0;
  ForEachLane(present, [&](int lane) {
    DeviceThread* thread = lanes_[lane];
    if (thread->mask != first.mask || thread->operation != first.operation) mismatch = thread;
    ballot |= static_cast<unsigned>(thread->value & 1) << lane;
  });
  if (mismatch != nullptr) return mismatch;

  ForEachLane(present, [&](int lane) {
    lanes_[lane]->answer = Answer(*lanes_[lane], present, ballot);
    lanes_[lane]->state = ThreadState::kReady;
  });
  waiting_ &= ~present;
  if (first.operation == WarpOperation::kSync) ++sync_generation_;
  return nullptr;
}

uint64_t Warp::Answer(const DeviceThread& thread, unsigned present, unsigned ballot) const {
  if (thread.operation != WarpOperation::kShuffle) return ballot;
  // What an ended lane would have given is undefined.
  constexpr uint64_t kUndefined = ~uint64_t{0};
  return (present >> thread.source_lane & 1) != 0 ? lanes_[thread.source_lane]->value : kUndefined;
}

}  // namespace kldiv::cuda_host
