#ifndef KLDIV_TESTS_PTX_MODULE_H_
#define KLDIV_TESTS_PTX_MODULE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/ptx/instruction_table.h"

namespace kldiv::ptx {

enum class SpecialRegister : uint8_t { kThread, kBlock, kBlockThreads, kGridBlocks, kLane, kZero, kOne };

// What an instruction reads or writes. Registers are numbered within their function.
struct Operand {
  enum class Kind : uint8_t { kRegister, kImmediate, kSpecial, kParameter };
  Kind kind = Kind::kImmediate;
  SpecialRegister special = SpecialRegister::kZero;
  uint32_t index = 0;  // of a register; of a parameter's first byte in its frame
  uint64_t value = 0;  // of an immediate
};

constexpr int kMaxOperands = 10;
constexpr int kNoRegister = -1;

struct Function;

struct Instruction {
  const Opcode* opcode = nullptr;
  int predicate = kNoRegister;  // executed when that register is not `skip_when`
  bool skip_when = false;
  uint8_t operand_count = 0;
  std::array<Operand, kMaxOperands>
      operands;  // destinations first; an address is a base and an immediate offset

  std::vector<int> targets;                           // of a branch: instruction numbers
  std::string callee;                                 // of a call
  std::vector<Operand> call_results, call_arguments;  // parameters of the calling frame

  int line = 0;  // in the text, for messages
};

// A parameter of a function, as bytes of its frame.
struct Parameter {
  uint32_t offset = 0;
  uint32_t bytes = 0;
};

struct Function {
  std::string name;
  bool is_kernel = false;
  std::vector<Parameter> results;
  std::vector<Parameter> parameters;
  uint32_t parameter_bytes = 0;        // of a frame: its own parameters and those of its calls
  std::vector<uint8_t> register_bits;  // 1 for predicates, 16, 32 or 64
  std::vector<Instruction> code;
};

// A variable of the module in constant or global memory.
struct Variable {
  bool is_constant = true;
  std::vector<uint64_t> storage;  // words, so that every alignment up to 8 holds
  size_t bytes = 0;
};

// A module of PTX, ready to be executed. Addresses of its variables are part of its code, so it can be moved
// but not copied.
struct Module {
  Module() = default;
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  std::map<std::string, Function> functions;
  std::map<std::string, Variable> variables;
  uint32_t shared_bytes = 0;  // of all functions' shared variables, which addresses count from 0
};

}  // namespace kldiv::ptx

#endif  // KLDIV_TESTS_PTX_MODULE_H_
