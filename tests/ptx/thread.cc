#include "tests/ptx/thread.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "tests/ptx/arithmetic.h"

namespace kldiv::ptx {
namespace {

constexpr uint64_t kArbitrary = 0xdeadbeefdeadbeefu;
constexpr size_t kMaxDepth = 100;

uint64_t Hash(uint64_t value) {
  value *= 0x9e3779b97f4a7c15u;
  return value ^ (value >> 29);
}

// Fills 64 bits from the low `bits`.
uint64_t Extend(uint64_t value, uint32_t bits, bool with_sign) {
  if (bits == 64) return value;
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  const bool negative = with_sign && (value >> (bits - 1) & 1) != 0;
  return negative ? value | ~mask : value & mask;
}

}  // namespace

Thread::Thread(LaunchState& state, const Function& kernel, uint32_t block, uint32_t index)
    : state_(state), block_(block), index_(index) {
  frames_.push_back(MakeFrame(kernel));
  for (size_t i = 0; i < kernel.parameters.size(); ++i) {
    std::memcpy(frames_[0].parameters.data() + kernel.parameters[i].offset, &state.launch.arguments[i],
                kernel.parameters[i].bytes);
  }
}

Thread::Frame Thread::MakeFrame(const Function& function) const {
  return {&function, 0, std::vector<uint64_t>(function.register_bits.size(), kArbitrary),
          std::vector<uint8_t>(function.parameter_bytes, 0xef), nullptr};
}

void Thread::Fail(const std::string& what) {
  if (!state_.failure.empty()) return;
  state_.failure = absl::StrCat("line ", line_, ", block ", block_, ", thread ", index_, ": ", what);
}

void Thread::Run() {
  while (thread_state_ == ThreadState::kReady && state_.failure.empty()) Step();
}

void Thread::Step() {
  Frame& frame = frames_.back();
  if (frame.next >= frame.function->code.size()) return Fail("the end of " + frame.function->name);
  const Instruction& instruction = frame.function->code[frame.next++];
  line_ = instruction.line;
  ++state_.counts.instructions;
  if (instruction.predicate != kNoRegister) {
    const bool value = (frame.registers[static_cast<size_t>(instruction.predicate)] & 1) != 0;
    if (value == instruction.skip_when) return;
  }
  switch (instruction.opcode->action) {
    case Action::kCompute:
      return ExecuteComputation(instruction);
    case Action::kPack:
    case Action::kUnpack:
      return ExecutePacking(instruction);
    case Action::kLoad:
    case Action::kStore:
      return ExecuteMemory(instruction);
    case Action::kBranch:
      frame.next = static_cast<size_t>(instruction.targets[0]);
      return;
    case Action::kIndexedBranch:
      return ExecuteIndexedBranch(instruction);
    case Action::kCall:
      return ExecuteCall(instruction);
    case Action::kReturn:
      return ExecuteReturn();
    case Action::kBarrier:
      thread_state_ = ThreadState::kAtBarrier;
      return;
    case Action::kWarpSync:
      return ExecuteWarpSync(instruction);
    case Action::kShuffle:
      return ExecuteShuffle(instruction);
    case Action::kTrap:
      return Fail("trap");
  }
}

uint64_t Thread::Read(const Operand& operand) const {
  switch (operand.kind) {
    case Operand::Kind::kRegister:
      return frames_.back().registers[operand.index];
    case Operand::Kind::kImmediate:
      return operand.value;
    case Operand::Kind::kParameter:
      return operand.index;
    case Operand::Kind::kSpecial:
      break;
  }
  switch (operand.special) {
    case SpecialRegister::kThread:
      return index_;
    case SpecialRegister::kBlock:
      return block_;
    case SpecialRegister::kBlockThreads:
      return state_.launch.threads;
    case SpecialRegister::kGridBlocks:
      return state_.launch.blocks;
    case SpecialRegister::kLane:
      return index_ % 32;
    case SpecialRegister::kZero:
      return 0;
    case SpecialRegister::kOne:
      return 1;
  }
  return 0;
}

void Thread::Write(const Operand& operand, uint64_t value) {
  Frame& frame = frames_.back();
  frame.registers[operand.index] = Extend(value, frame.function->register_bits[operand.index], false);
}

uint64_t Thread::WithArbitraryNaN(ResultKind kind, uint64_t bits) {
  if (kind == ResultKind::kDouble && FromBits<double>(bits) != FromBits<double>(bits)) {
    return (Hash(state_.launch.seed + ++state_.nan_counter) & 0x8007ffffffffffffu) | 0x7ff8000000000000u;
  }
  if (kind == ResultKind::kFloat && FromBits<float>(bits) != FromBits<float>(bits)) {
    return (Hash(state_.launch.seed + ++state_.nan_counter) >> 32 & 0x803fffffu) | 0x7fc00000u;
  }
  return bits;
}

void Thread::ExecuteComputation(const Instruction& instruction) {
  const Opcode& opcode = *instruction.opcode;
  uint64_t sources[4];
  for (size_t i = 0; i < opcode.source_count; ++i) sources[i] = Read(instruction.operands[i + 1]);
  uint64_t result = WithArbitraryNaN(opcode.result_kind, opcode.compute(sources));
  if (opcode.sign_extends) result = Extend(result, opcode.result_bits, true);
  Write(instruction.operands[0], result);
  state_.counts.fp64_operations += opcode.is_fp64_arithmetic ? 1 : 0;
}

void Thread::ExecutePacking(const Instruction& instruction) {
  const uint32_t half = instruction.opcode->result_bits / 2u;
  if (instruction.opcode->action == Action::kPack) {
    const uint64_t low = Extend(Read(instruction.operands[1]), half, false);
    const uint64_t high = Extend(Read(instruction.operands[2]), half, false);
    return Write(instruction.operands[0], high << half | low);
  }
  const uint64_t whole = Read(instruction.operands[2]);
  Write(instruction.operands[0], Extend(whole, half, false));
  Write(instruction.operands[1], Extend(whole >> half, half, false));
}

// Null, and a failure, when the address is not the instruction's to use.
uint8_t* Thread::FindMemory(const Instruction& instruction, int address_at, uint32_t bytes,
                            bool for_writing) {
  const size_t at = static_cast<size_t>(address_at);
  const uint64_t address = Read(instruction.operands[at]) + instruction.operands[at + 1].value;
  Frame& frame = frames_.back();
  uint8_t* found = nullptr;
  if (instruction.opcode->space == Space::kParameter) {
    if (address + bytes <= frame.parameters.size()) found = frame.parameters.data() + address;
  } else {
    found = state_.memory.Find(instruction.opcode->space, address, bytes, for_writing);
  }
  if (found == nullptr) {
    Fail(absl::StrCat(for_writing ? "a write of " : "a read of ", bytes,
                      " bytes where there is no such memory, at 0x", absl::Hex(address)));
  }
  return found;
}

void Thread::ExecuteMemory(const Instruction& instruction) {
  const Opcode& opcode = *instruction.opcode;
  const bool is_load = opcode.action == Action::kLoad;
  const uint32_t size = opcode.element_bytes;
  uint8_t* at = FindMemory(instruction, is_load ? opcode.elements : 0, size * opcode.elements, !is_load);
  if (at == nullptr) return;
  for (size_t i = 0; i < opcode.elements; ++i, at += size) {
    if (is_load) {
      uint64_t value = 0;
      std::memcpy(&value, at, size);
      Write(instruction.operands[i], Extend(value, 8 * size, opcode.sign_extends));
    } else {
      const uint64_t value = Read(instruction.operands[i + 2]);
      std::memcpy(at, &value, size);
    }
  }
}

void Thread::ExecuteIndexedBranch(const Instruction& instruction) {
  const uint64_t index = Read(instruction.operands[0]);
  if (index >= instruction.targets.size()) return Fail("a branch beyond its table");
  frames_.back().next = static_cast<size_t>(instruction.targets[index]);
}

void Thread::ExecuteCall(const Instruction& instruction) {
  if (frames_.size() >= kMaxDepth) return Fail("so deep a call");
  const Function& callee = state_.module.functions.at(instruction.callee);
  Frame called = MakeFrame(callee);
  called.call = &instruction;
  for (size_t i = 0; i < callee.parameters.size(); ++i) {
    std::memcpy(called.parameters.data() + callee.parameters[i].offset,
                frames_.back().parameters.data() + instruction.call_arguments[i].index,
                callee.parameters[i].bytes);
  }
  frames_.push_back(std::move(called));
}

void Thread::ExecuteReturn() {
  if (frames_.size() == 1) {
    thread_state_ = ThreadState::kEnded;
    return;
  }
  const Frame returning = std::move(frames_.back());
  frames_.pop_back();
  for (size_t i = 0; i < returning.function->results.size(); ++i) {
    const Parameter& result = returning.function->results[i];
    std::memcpy(frames_.back().parameters.data() + returning.call->call_results[i].index,
                returning.parameters.data() + result.offset, result.bytes);
  }
}

void Thread::ExecuteWarpSync(const Instruction& instruction) {
  mask_ = static_cast<uint32_t>(Read(instruction.operands[0]));
  if ((mask_ >> (index_ % 32) & 1) == 0) return Fail("a mask without the calling lane");
  thread_state_ = ThreadState::kAtWarpSync;
}

// The manual's pseudocode: c holds the clamp in its low five bits and the segment mask in bits 8 to 12.
void Thread::ExecuteShuffle(const Instruction& instruction) {
  const int lane = static_cast<int>(index_ % 32);
  const int b = static_cast<int>(Read(instruction.operands[2]) & 31);
  const auto c = static_cast<int>(Read(instruction.operands[3]));
  const int segment = c >> 8 & 31;
  const int clamp = c & 31;
  const int max_lane = (lane & segment) | (clamp & ~segment);
  const int min_lane = lane & segment;
  int source = lane;
  bool in_range = false;
  switch (instruction.opcode->shuffle) {
    case ShuffleMode::kUp:
      source = lane - b;
      in_range = source >= max_lane;
      break;
    case ShuffleMode::kDown:
      source = lane + b;
      in_range = source <= max_lane;
      break;
    case ShuffleMode::kButterfly:
      source = lane ^ b;
      in_range = source <= max_lane;
      break;
    case ShuffleMode::kIndex:
      source = min_lane | (b & ~segment);
      in_range = source <= max_lane;
      break;
  }
  mask_ = static_cast<uint32_t>(Read(instruction.operands[4]));
  source_lane_ = in_range ? source : lane;
  offered_ = Read(instruction.operands[1]);
  receiver_ = instruction.operands[0];
  if ((mask_ >> lane & 1) == 0) return Fail("a mask without the calling lane");
  if ((mask_ >> source_lane_ & 1) == 0) return Fail("a shuffle from a lane outside of its mask");
  if (instruction.operand_count == 6) Write(instruction.operands[5], in_range ? 1 : 0);
  thread_state_ = ThreadState::kAtShuffle;
}

void Thread::Receive(uint64_t value) {
  Write(receiver_, value);
  GoOn();
}

}  // namespace kldiv::ptx
