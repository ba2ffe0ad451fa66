#include "tests/ptx/executor.h"

#include <algorithm>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/ptx/thread.h"

namespace kldiv::ptx {
namespace {

const Function* FindKernel(const Module& module, const std::string& name) {
  const Function* found = nullptr;
  for (const auto& [full_name, function] : module.functions) {
    if (!function.is_kernel || !absl::StrContains(full_name, name)) continue;
    if (found != nullptr) return nullptr;
    found = &function;
  }
  return found;
}

// The threads of one block, which end together or fail.
class Block {
 public:
  Block(LaunchState& state, const Function& kernel, uint32_t index, std::mt19937_64& random) : state_(state) {
    for (uint32_t i = 0; i < state.launch.threads; ++i) threads_.emplace_back(state, kernel, index, i);
    for (Thread& thread : threads_) order_.push_back(&thread);
    std::shuffle(order_.begin(), order_.end(), random);
  }

  void Run() {
    while (state_.failure.empty()) {
      bool moved = false;
      for (Thread* thread : order_) {
        if (thread->state() != ThreadState::kReady) continue;
        thread->Run();
        moved = true;
      }
      if (Count(ThreadState::kEnded) == threads_.size()) return;
      moved |= CompleteBarrier();
      moved |= CompleteWarpOperations();
      if (!moved) return ReportDeadlock();
    }
  }

 private:
  size_t Count(ThreadState state) const {
    return static_cast<size_t>(std::count_if(threads_.begin(), threads_.end(),
                                             [&](const Thread& thread) { return thread.state() == state; }));
  }

  bool CompleteBarrier() {
    if (Count(ThreadState::kAtBarrier) != threads_.size()) return false;
    for (Thread& thread : threads_) thread.GoOn();
    return true;
  }

  bool CompleteWarpOperations() {
    bool moved = false;
    for (size_t first = 0; first < threads_.size(); first += 32) {
      for (size_t i = first; i < std::min(first + 32, threads_.size()); ++i)
        moved |= CompleteGroup(first, threads_[i]);
    }
    return moved;
  }

  // Lets the lanes of the thread's mask go on when all of them wait at the same kind of operation with that
  // mask.
  bool CompleteGroup(size_t first, const Thread& thread) {
    const ThreadState state = thread.state();
    const uint32_t mask = thread.mask();
    if (state != ThreadState::kAtShuffle && state != ThreadState::kAtWarpSync) return false;
    uint64_t offered[32] = {};
    for (size_t lane = 0; lane < 32; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      if (first + lane >= threads_.size()) return false;
      const Thread& other = threads_[first + lane];
      if (other.state() != state || other.mask() != mask || other.line() != thread.line()) return false;
      offered[lane] = other.offered();
    }
    for (size_t lane = 0; lane < 32; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      Thread& other = threads_[first + lane];
      if (state == ThreadState::kAtShuffle)
        other.Receive(offered[other.source_lane()]);
      else
        other.GoOn();
    }
    return true;
  }

  void ReportDeadlock() {
    for (Thread& thread : threads_) {
      if (thread.state() == ThreadState::kEnded) continue;
      return thread.Fail(thread.state() == ThreadState::kAtBarrier
                             ? "deadlock: a barrier is not reached by every thread"
                             : "deadlock: a warp operation is not reached by every lane of its mask");
    }
  }

  LaunchState& state_;
  std::vector<Thread> threads_;
  std::vector<Thread*> order_;
};

}  // namespace

absl::Status Execute(const Module& module, const Launch& launch, Counts* counts) {
  const Function* kernel = FindKernel(module, launch.kernel);
  if (kernel == nullptr)
    return absl::InvalidArgumentError(absl::StrCat("no kernel, or several, named ", launch.kernel));
  if (kernel->parameters.size() != launch.arguments.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(launch.kernel, " takes ", kernel->parameters.size(), " arguments"));
  }
  for (const Parameter& parameter : kernel->parameters) {
    if (parameter.bytes > 8) return absl::InvalidArgumentError("an argument of more than 8 bytes");
  }
  LaunchState state{module, launch, Memory(module, launch.buffers), 0, {}, {}};
  std::mt19937_64 random(launch.seed);
  for (uint32_t block = 0; block < launch.blocks && state.failure.empty(); ++block) {
    state.memory.ResetShared();
    Block(state, *kernel, block, random).Run();
  }
  if (counts != nullptr) *counts = state.counts;
  return state.failure.empty() ? absl::OkStatus() : absl::FailedPreconditionError(state.failure);
}

}  // namespace kldiv::ptx
