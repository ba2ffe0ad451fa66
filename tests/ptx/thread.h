#ifndef KLDIV_TESTS_PTX_THREAD_H_
#define KLDIV_TESTS_PTX_THREAD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/ptx/executor.h"
#include "tests/ptx/memory.h"
#include "tests/ptx/module.h"

namespace kldiv::ptx {

// What all threads of a launch share.
struct LaunchState {
  const Module& module;
  const Launch& launch;
  Memory memory;
  uint64_t nan_counter = 0;
  Counts counts;
  std::string failure;  // empty as long as all is well
};

enum class ThreadState : uint8_t { kReady, kAtBarrier, kAtWarpSync, kAtShuffle, kEnded };

// One thread of the kernel: its registers, parameters and place in the code.
class Thread {
 public:
  Thread(LaunchState& state, const Function& kernel, uint32_t block, uint32_t index);

  // Executes until the thread waits or ends, or state.failure is set.
  void Run();

  ThreadState state() const { return thread_state_; }
  void GoOn() { thread_state_ = ThreadState::kReady; }

  // At a warp operation.
  uint32_t mask() const { return mask_; }
  // At a shuffle: what it offers, and what becomes of it.
  uint64_t offered() const { return offered_; }
  int source_lane() const { return source_lane_; }
  void Receive(uint64_t value);

  uint32_t index() const { return index_; }
  int line() const { return line_; }
  void Fail(const std::string& what);

 private:
  struct Frame {
    const Function* function;
    size_t next;  // instruction
    std::vector<uint64_t> registers;
    std::vector<uint8_t> parameters;
    const Instruction* call = nullptr;  // that this frame is the callee of
  };

  Frame MakeFrame(const Function& function) const;
  void Step();
  uint64_t Read(const Operand& operand) const;
  void Write(const Operand& operand, uint64_t value);
  uint64_t WithArbitraryNaN(ResultKind kind, uint64_t bits);

  void ExecuteComputation(const Instruction& instruction);
  void ExecutePacking(const Instruction& instruction);
  void ExecuteMemory(const Instruction& instruction);
  uint8_t* FindMemory(const Instruction& instruction, int address_at, uint32_t bytes, bool for_writing);
  void ExecuteIndexedBranch(const Instruction& instruction);
  void ExecuteCall(const Instruction& instruction);
  void ExecuteReturn();
  void ExecuteWarpSync(const Instruction& instruction);
  void ExecuteShuffle(const Instruction& instruction);

  LaunchState& state_;
  const uint32_t block_;
  const uint32_t index_;
  std::vector<Frame> frames_;
  ThreadState thread_state_ = ThreadState::kReady;
  int line_ = 0;

  uint32_t mask_ = 0;
  uint64_t offered_ = 0;
  int source_lane_ = 0;
  Operand receiver_;
};

}  // namespace kldiv::ptx

#endif  // KLDIV_TESTS_PTX_THREAD_H_
