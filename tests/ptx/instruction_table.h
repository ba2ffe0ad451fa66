#ifndef KLDIV_TESTS_PTX_INSTRUCTION_TABLE_H_
#define KLDIV_TESTS_PTX_INSTRUCTION_TABLE_H_

#include <cstdint>
#include <string_view>

namespace kldiv::ptx {

// What executing an instruction means beyond computing a value from its operands.
enum class Action : uint8_t {
  kCompute,
  kPack,    // one register from several: mov.b64 %rd, {%r, %r}
  kUnpack,  // and back
  kLoad,
  kStore,
  kBranch,
  kIndexedBranch,
  kCall,
  kReturn,
  kBarrier,
  kWarpSync,
  kShuffle,
  kTrap,
};

enum class Space : uint8_t { kNone, kGlobal, kShared, kConstant, kParameter };
enum class ShuffleMode : uint8_t { kUp, kDown, kButterfly, kIndex };

// Floating-point results: when one is a NaN, its payload and sign are arbitrary, as the PTX manual leaves
// them.
enum class ResultKind : uint8_t { kBits, kFloat, kDouble };

// The sources' bits, in the low bits of each word, to the result's.
using Compute = uint64_t (*)(const uint64_t* sources);

// An instruction with all its modifiers.
struct Opcode {
  Action action = Action::kCompute;

  // kCompute
  Compute compute = nullptr;
  ResultKind result_kind = ResultKind::kBits;
  uint8_t result_bits = 0;
  uint8_t source_count = 0;
  uint8_t source_bits[4] = {};
  bool converts = false;      // cvt: registers may be wider than the types
  bool sign_extends = false;  // a wider result register is filled with the sign
  bool is_fp64_arithmetic = false;

  // kPack, kUnpack: result_bits of the whole

  // kLoad, kStore; sign_extends for loads
  Space space = Space::kNone;
  uint8_t element_bytes = 0;
  uint8_t elements = 1;

  ShuffleMode shuffle = ShuffleMode::kIndex;
};

// The opcode of that exact spelling, "fma.rn.f64" for instance; null for every other one: arithmetic without
// .rn, with .ftz, .approx or .sat, local memory, and whatever has not been thought of. Lives as long as the
// program.
//
// `mov` with a vector is spelled "pack" or "unpack" and its type here, because the operands tell.
const Opcode* FindOpcode(std::string_view name);

}  // namespace kldiv::ptx

#endif  // KLDIV_TESTS_PTX_INSTRUCTION_TABLE_H_
