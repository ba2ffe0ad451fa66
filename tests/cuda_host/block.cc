#include "tests/cuda_host/block.h"

#include <cstdio>
#include <cstdlib>
#include <numeric>

namespace kldiv::cuda_host {
namespace {

// The block that executes now. One at a time, whichever thread executes it.
Block* active = nullptr;

// memset, unseen by the sanitizers, which know the function by its name.
void FillUnseen(void* memory, int byte, size_t bytes) {
  auto* at = static_cast<volatile unsigned char*>(memory);
  for (size_t i = 0; i < bytes; ++i) at[i] = static_cast<unsigned char>(byte);
}

uint3 Coordinates(unsigned index, dim3 extent) {
  return {index % extent.x, index / extent.x % extent.y, index / extent.x / extent.y};
}

}  // namespace

Block::Block(const KernelLaunch& launch, uint3 index, DeviceThread* const* threads, LaunchMarks& marks,
             KernelOutcome& outcome)
    : launch_(launch),
      threads_(threads),
      marks_(marks),
      outcome_(outcome),
      thread_count_(static_cast<int>(launch.block.x * launch.block.y * launch.block.z)) {
  for (int i = 0; i < thread_count_; ++i) {
    DeviceThread& thread = *threads_[i];
    thread.position = {Coordinates(static_cast<unsigned>(i), launch.block),
                       index,
                       launch.block,
                       launch.grid,
                       i % 32,
                       i / 32};
    warps_[i / 32].SetLane(i % 32, &thread);
  }
  active = this;
}

Block::~Block() {
  active = nullptr;
  const ScopedUnseen unseen;
  for (const SharedArray& array : shared_) std::free(array.memory);
}

void Block::ThreadMain(void* block) {
  auto* self = static_cast<Block*>(block);
  self->marks_.start.Acquire();
  self->launch_.body();
  self->marks_.end.Release();
  self->current_->state = ThreadState::kEnded;
}

void Block::Run(Random& random) {
  int order[kMaxThreadsPerBlock];
  std::iota(order, order + thread_count_, 0);
  random.Shuffle(order, thread_count_);
  for (int i = 0; i < thread_count_; ++i) {
    constexpr size_t kStagger = 256, kStaggers = 31;
    threads_[i]->fiber.Start(&ThreadMain, this, static_cast<size_t>(i) % kStaggers * kStagger);
    threads_[i]->state = ThreadState::kReady;
  }
  running_ = thread_count_;
  while (running_ > 0) {
    bool moved = RunReadyThreads(order);
    if (outcome_.error != cudaSuccess) return;
    moved |= CompleteBarrier();
    if (!moved && running_ > 0) return ReportDeadlock();
  }
}

// Resumes each thread that is ready once; returns whether there was one.
bool Block::RunReadyThreads(const int* order) {
  bool moved = false;
  for (int k = 0; k < thread_count_; ++k) {
    DeviceThread& thread = *threads_[order[k]];
    if (thread.state != ThreadState::kReady) continue;
    current_ = &thread;
    thread.fiber.Resume();
    moved = true;
    if (outcome_.error == cudaSuccess) AfterRunning(thread);
    if (outcome_.error != cudaSuccess) break;
  }
  return moved;
}

void Block::AfterRunning(DeviceThread& thread) {
  Warp& warp = warps_[thread.position.warp];
  const DeviceThread* mismatch = nullptr;
  if (thread.state == ThreadState::kEnded) {
    --running_;
    mismatch = warp.End(thread.position.lane);
  } else if (thread.state == ThreadState::kAtWarpOperation) {
    mismatch = warp.Arrive(thread.position.lane);
  }
  if (mismatch != nullptr) {
    SetFault(*mismatch, cudaErrorLaunchFailure, "lanes of one mask meet at different warp operations",
             mismatch->line);
  }
}

bool Block::CompleteBarrier() {
  // A thread that has ended does not count as arrived: waiting for it is undefined.
  int count = 0;
  for (int i = 0; i < thread_count_; ++i) {
    if (threads_[i]->state != ThreadState::kAtBarrier) return false;
    count += threads_[i]->predicate != 0 ? 1 : 0;
  }
  for (int i = 0; i < thread_count_; ++i) threads_[i]->state = ThreadState::kReady;
  barrier_count_ = count;
  ++barrier_generation_;
  return true;
}

void Block::ReportDeadlock() {
  for (int i = 0; i < thread_count_; ++i) {
    const DeviceThread& thread = *threads_[i];
    if (thread.state == ThreadState::kAtBarrier) {
      return SetFault(thread, cudaErrorLaunchFailure,
                      "deadlock: a barrier is not reached by every thread of the block", thread.line);
    }
    if (thread.state == ThreadState::kAtWarpOperation) {
      return SetFault(thread, cudaErrorLaunchFailure,
                      "deadlock: a warp operation is not reached by every lane of its mask", thread.line);
    }
  }
}

void Block::SetFault(const DeviceThread& thread, cudaError_t error, const char* what, int line) {
  const ScopedUnseen unseen;
  const ThreadPosition& p = thread.position;
  outcome_.error = error;
  std::snprintf(outcome_.text, sizeof outcome_.text, "%s (line %d), block (%u,%u,%u), thread (%u,%u,%u)",
                what, line, p.block.x, p.block.y, p.block.z, p.thread.x, p.thread.y, p.thread.z);
}

uint64_t Block::MeetWarp(unsigned mask, WarpOperation operation, uint64_t value, int source_lane, int line) {
  DeviceThread& thread = *current_;
  if ((mask >> thread.position.lane & 1) == 0) {
    Fault(cudaErrorLaunchFailure, "the calling lane is not in its mask", line);
  }
  if (operation == WarpOperation::kShuffle && (mask >> source_lane & 1) == 0) {
    Fault(cudaErrorLaunchFailure, "a shuffle from a lane outside the mask", line);
  }
  OrderMark& mark = warps_[thread.position.warp].sync_mark();
  if (operation == WarpOperation::kSync) mark.Release();
  thread.mask = mask;
  thread.operation = operation;
  thread.value = value;
  thread.source_lane = source_lane;
  thread.line = line;
  thread.state = ThreadState::kAtWarpOperation;
  thread.fiber.Suspend();
  if (operation == WarpOperation::kSync) mark.Acquire();
  return thread.answer;
}

int Block::MeetBlock(int predicate, int line) {
  DeviceThread& thread = *current_;
  OrderMark& mark = barrier_marks_[barrier_generation_ & 1];
  mark.Release();
  thread.predicate = predicate;
  thread.line = line;
  thread.state = ThreadState::kAtBarrier;
  thread.fiber.Suspend();
  mark.Acquire();
  return barrier_count_;
}

void* Block::SharedMemory(const void* declaration, size_t bytes) {
  for (const SharedArray& array : shared_) {
    if (array.declaration == declaration) return array.memory;
  }
  const ScopedUnseen unseen;
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, bytes > 0 ? bytes : 1) != 0) std::abort();
  FillUnseen(memory, 0xff, bytes);
  shared_.push_back({declaration, memory});
  return memory;
}

void* Block::DynamicSharedMemory() { return SharedMemory(nullptr, launch_.dynamic_shared_bytes); }

// ---- What device code calls.

const ThreadPosition* Self() { return &active->current().position; }

uint64_t MeetWarp(unsigned mask, WarpOperation operation, uint64_t value, int source_lane, int line) {
  return active->MeetWarp(mask, operation, value, source_lane, line);
}

int MeetBlock(int predicate, int line) { return active->MeetBlock(predicate, line); }

void* SharedMemory(const void* declaration, size_t bytes) { return active->SharedMemory(declaration, bytes); }

void* DynamicSharedMemory() { return active->DynamicSharedMemory(); }

void Fault(cudaError_t error, const char* what, int line) {
  active->SetFault(active->current(), error, what, line);
  active->current().fiber.Suspend();  // for good: the kernel has ended
  std::abort();
}

}  // namespace kldiv::cuda_host
