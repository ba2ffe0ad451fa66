#include "tests/ptx/instruction_table.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/ptx/arithmetic.h"

namespace kldiv::ptx {
namespace {

using Table = std::map<std::string, Opcode, std::less<>>;

template <class T>
std::string TypeName() {
  const std::string bits = std::to_string(8 * sizeof(T));
  return (std::is_floating_point_v<T> ? "f" : std::is_signed_v<T> ? "s" : "u") + bits;
}

// An opcode that computes Result from sources of the given types.
template <class Result, class... Sources>
Opcode Computes(Compute compute) {
  Opcode opcode;
  opcode.compute = compute;
  opcode.result_bits = kBits<Result>;
  opcode.source_count = sizeof...(Sources);
  const uint8_t bits[] = {kBits<Sources>...};
  std::copy(std::begin(bits), std::end(bits), opcode.source_bits);
  if (std::is_same_v<Result, float>) opcode.result_kind = ResultKind::kFloat;
  if (std::is_same_v<Result, double>) opcode.result_kind = ResultKind::kDouble;
  return opcode;
}

template <class Result, auto kFunction, class... Sources, size_t... kIndex>
uint64_t Apply(const uint64_t* sources, std::index_sequence<kIndex...>) {
  return ToBits<Result>(static_cast<Result>(kFunction(FromBits<Sources>(sources[kIndex])...)));
}

// Adds `name`, which computes Result kFunction(Sources...).
template <class Result, auto kFunction, class... Sources>
Opcode& Add(Table& table, const std::string& name) {
  const Compute compute = [](const uint64_t* sources) {
    return Apply<Result, kFunction, Sources...>(sources, std::index_sequence_for<Sources...>());
  };
  return table[name] = Computes<Result, Sources...>(compute);
}

template <class T>
void AddInteger(Table& table) {
  using U = std::make_unsigned_t<T>;
  const std::string type = "." + TypeName<T>();
  Add<U, [](U a, U b) { return a + b; }, U, U>(table, "add" + type);
  Add<U, [](U a, U b) { return a - b; }, U, U>(table, "sub" + type);
  Add<U, [](U a, U b) { return uint64_t{a} * b; }, U, U>(table, "mul.lo" + type);
  Add<U, [](U a, U b, U c) { return uint64_t{a} * b + c; }, U, U, U>(table, "mad.lo" + type);
  Add<T, [](T a, T b) { return std::min(a, b); }, T, T>(table, "min" + type);
  Add<T, [](T a, T b) { return std::max(a, b); }, T, T>(table, "max" + type);
  Add<T, [](T a, uint32_t n) { return ShiftRight(a, n); }, T, uint32_t>(table, "shr" + type);
  Add<T, [](T a, T b, bool p) { return p ? a : b; }, T, T, bool>(table, "selp" + type);
  Add<T, [](T a) { return a; }, T>(table, "mov" + type);
  Add<bool, [](T a, T b) { return a == b; }, T, T>(table, "setp.eq" + type);
  Add<bool, [](T a, T b) { return a != b; }, T, T>(table, "setp.ne" + type);
  Add<bool, [](T a, T b) { return a < b; }, T, T>(table, "setp.lt" + type);
  Add<bool, [](T a, T b) { return a <= b; }, T, T>(table, "setp.le" + type);
  Add<bool, [](T a, T b) { return (a > b); }, T, T>(table, "setp.gt" + type);
  Add<bool, [](T a, T b) { return (a >= b); }, T, T>(table, "setp.ge" + type);
  if constexpr (std::is_signed_v<T>) Add<U, [](U a) { return U{0} - a; }, U>(table, "neg" + type);
}

// mul.wide and mad.wide, from T to twice its size.
template <class T, class Wide>
void AddWide(Table& table) {
  const std::string type = "." + TypeName<T>();
  using UWide = std::make_unsigned_t<Wide>;
  Add<UWide, [](T a, T b) { return static_cast<UWide>(Wide{a} * Wide{b}); }, T, T>(table, "mul.wide" + type);
  Add<UWide, [](T a, T b, UWide c) { return static_cast<UWide>(Wide{a} * Wide{b}) + c; }, T, T, UWide>(
      table, "mad.wide" + type);
}

template <class U>
void AddBits(Table& table) {
  const std::string type = ".b" + std::to_string(kBits<U>);
  Add<U, [](U a, U b) { return a & b; }, U, U>(table, "and" + type);
  Add<U, [](U a, U b) { return a | b; }, U, U>(table, "or" + type);
  Add<U, [](U a, U b) { return a ^ b; }, U, U>(table, "xor" + type);
  Add<U, [](U a) { return ~a; }, U>(table, "not" + type);
  Add<U, [](U a, uint32_t n) { return ShiftLeft(a, n); }, U, uint32_t>(table, "shl" + type);
  Add<U, [](U a, uint32_t n) { return ShiftRight(a, n); }, U, uint32_t>(table, "shr" + type);
  Add<U, [](U a, U b, bool p) { return p ? a : b; }, U, U, bool>(table, "selp" + type);
  Add<U, [](U a) { return a; }, U>(table, "mov" + type);
  Add<bool, [](U a, U b) { return a == b; }, U, U>(table, "setp.eq" + type);
  Add<bool, [](U a, U b) { return a != b; }, U, U>(table, "setp.ne" + type);
  if constexpr (sizeof(U) >= 4) {
    Add<U, InsertField<U>, U, U, uint32_t, uint32_t>(table, "bfi" + type);
    Add<U, ExtractField<U>, U, uint32_t, uint32_t>(table, "bfe.u" + std::to_string(kBits<U>));
    Add<uint32_t, [](U a) { return std::popcount(a); }, U>(table, "popc" + type);
    Add<uint32_t, [](U a) { return std::countl_zero(a); }, U>(table, "clz" + type);
  }
}

void AddPredicates(Table& table) {
  Add<bool, [](bool a, bool b) { return a && b; }, bool, bool>(table, "and.pred");
  Add<bool, [](bool a, bool b) { return a || b; }, bool, bool>(table, "or.pred");
  Add<bool, [](bool a, bool b) { return a != b; }, bool, bool>(table, "xor.pred");
  Add<bool, [](bool a) { return !a; }, bool>(table, "not.pred");
  Add<bool, [](bool a) { return a; }, bool>(table, "mov.pred");
}

template <class F>
void AddFloat(Table& table) {
  const std::string type = "." + TypeName<F>();
  Add<F, [](F a, F b) { return a + b; }, F, F>(table, "add.rn" + type);
  Add<F, [](F a, F b) { return a - b; }, F, F>(table, "sub.rn" + type);
  Add<F, [](F a, F b) { return a * b; }, F, F>(table, "mul.rn" + type);
  Add<F, [](F a, F b) { return a / b; }, F, F>(table, "div.rn" + type);
  Add<F, [](F a) { return std::sqrt(a); }, F>(table, "sqrt.rn" + type);
  Add<F, [](F a, F b, F c) { return std::fma(a, b, c); }, F, F, F>(table, "fma.rn" + type);
  for (const char* name : {"add.rn", "sub.rn", "mul.rn", "fma.rn"}) {
    table[name + type].is_fp64_arithmetic = sizeof(F) == sizeof(double);
  }
  Add<F, [](F a) { return -a; }, F>(table, "neg" + type);
  Add<F, [](F a) { return std::abs(a); }, F>(table, "abs" + type);
  Add<F, Minimum<F>, F, F>(table, "min" + type);
  Add<F, Maximum<F>, F, F>(table, "max" + type);
  // As bits, so that no NaN changes on its way through a register.
  using U = std::conditional_t<sizeof(F) == 4, uint32_t, uint64_t>;
  Add<U, [](U a) { return a; }, U>(table, "mov" + type);
  Add<U, [](U a, U b, bool p) { return p ? a : b; }, U, U, bool>(table, "selp" + type);
  Add<bool, [](F a, F b) { return a == b; }, F, F>(table, "setp.eq" + type);
  Add<bool, [](F a, F b) { return (a < b || a > b); }, F, F>(table, "setp.ne" + type);
  Add<bool, [](F a, F b) { return a < b; }, F, F>(table, "setp.lt" + type);
  Add<bool, [](F a, F b) { return a <= b; }, F, F>(table, "setp.le" + type);
  Add<bool, [](F a, F b) { return (a > b); }, F, F>(table, "setp.gt" + type);
  Add<bool, [](F a, F b) { return (a >= b); }, F, F>(table, "setp.ge" + type);
  Add<bool, [](F a, F b) { return !(a < b || a > b); }, F, F>(table, "setp.equ" + type);
  Add<bool, [](F a, F b) { return a != b; }, F, F>(table, "setp.neu" + type);
  Add<bool, [](F a, F b) { return !(a >= b); }, F, F>(table, "setp.ltu" + type);
  Add<bool, [](F a, F b) { return !(a > b); }, F, F>(table, "setp.leu" + type);
  Add<bool, [](F a, F b) { return !(a <= b); }, F, F>(table, "setp.gtu" + type);
  Add<bool, [](F a, F b) { return !(a < b); }, F, F>(table, "setp.geu" + type);
  Add<bool, [](F a, F b) { return a == a && b == b; }, F, F>(table, "setp.num" + type);
  Add<bool, [](F a, F b) { return a != a || b != b; }, F, F>(table, "setp.nan" + type);
}

template <class To, class From>
void AddIntegerConversion(Table& table) {
  Opcode& opcode =
      Add<To, [](From a) { return a; }, From>(table, "cvt." + TypeName<To>() + "." + TypeName<From>());
  opcode.converts = true;
  opcode.sign_extends = std::is_signed_v<To>;
}

template <class To>
void AddIntegerConversions(Table& table) {
  AddIntegerConversion<To, uint8_t>(table);
  AddIntegerConversion<To, int8_t>(table);
  AddIntegerConversion<To, uint16_t>(table);
  AddIntegerConversion<To, int16_t>(table);
  AddIntegerConversion<To, uint32_t>(table);
  AddIntegerConversion<To, int32_t>(table);
  AddIntegerConversion<To, uint64_t>(table);
  AddIntegerConversion<To, int64_t>(table);
}

void AddFloatConversions(Table& table) {
  Add<double, [](float a) { return double{a}; }, float>(table, "cvt.f64.f32");
  Add<float, [](double a) { return static_cast<float>(a); }, double>(table, "cvt.rn.f32.f64");
  Add<float, FloatFromHalf, uint16_t>(table, "cvt.f32.f16");
  Add<double, [](uint16_t a) { return double{FloatFromHalf(a)}; }, uint16_t>(table, "cvt.f64.f16");
  Add<float, FloatFromBfloat, uint16_t>(table, "cvt.f32.bf16");
  Add<double, [](int32_t a) { return static_cast<double>(a); }, int32_t>(table, "cvt.rn.f64.s32");
  Add<double, [](uint32_t a) { return static_cast<double>(a); }, uint32_t>(table, "cvt.rn.f64.u32");
  Add<double, [](int64_t a) { return static_cast<double>(a); }, int64_t>(table, "cvt.rn.f64.s64");
  Add<double, [](uint64_t a) { return static_cast<double>(a); }, uint64_t>(table, "cvt.rn.f64.u64");
}

// Loads and stores of every space, type and vector length, with the cache hints, which change nothing.
void AddMemory(Table& table) {
  struct Place {
    const char* name;
    Space space;
    std::vector<const char*> load_hints, store_hints;
  };
  const Place places[] = {
      {"global",
       Space::kGlobal,
       {"", ".nc", ".nc.L1::no_allocate", ".ca", ".cg", ".cs", ".lu", ".nc.cs"},
       {"", ".wb", ".cg", ".cs"}},
      {"shared", Space::kShared, {""}, {""}},
      {"const", Space::kConstant, {""}, {}},
      {"param", Space::kParameter, {""}, {""}},
  };
  for (const Place& place : places) {
    for (const char* type :
         {"b8", "u8", "s8", "b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"}) {
      for (const int elements : {1, 2, 4, 8}) {
        Opcode opcode;
        opcode.space = place.space;
        opcode.element_bytes = static_cast<uint8_t>(std::stoi(type + 1) / 8);
        opcode.elements = static_cast<uint8_t>(elements);
        opcode.sign_extends = type[0] == 's';
        if (opcode.element_bytes * elements > 32) continue;
        const std::string vector = elements > 1 ? ".v" + std::to_string(elements) : "";
        const auto add = [&](const char* verb, const char* hint, Action action) {
          opcode.action = action;
          table[std::string(verb) + "." + place.name + hint + vector + "." + type] = opcode;
        };
        for (const char* hint : place.load_hints) add("ld", hint, Action::kLoad);
        for (const char* hint : place.store_hints) add("st", hint, Action::kStore);
      }
    }
  }
}

void AddControl(Table& table) {
  const auto add = [&table](const char* name, Action action) { table[name].action = action; };
  for (const char* name : {"bra", "bra.uni"}) add(name, Action::kBranch);
  for (const char* name : {"brx.idx", "brx.idx.uni"}) add(name, Action::kIndexedBranch);
  for (const char* name : {"call", "call.uni"}) add(name, Action::kCall);
  for (const char* name : {"ret", "ret.uni", "exit"}) add(name, Action::kReturn);
  for (const char* name : {"bar.sync", "barrier.sync", "barrier.cta.sync", "bar.cta.sync"}) {
    add(name, Action::kBarrier);
  }
  add("bar.warp.sync", Action::kWarpSync);
  add("trap", Action::kTrap);
  const std::pair<const char*, ShuffleMode> shuffles[] = {{"up", ShuffleMode::kUp},
                                                          {"down", ShuffleMode::kDown},
                                                          {"bfly", ShuffleMode::kButterfly},
                                                          {"idx", ShuffleMode::kIndex}};
  for (const auto& [mode, shuffle] : shuffles) {
    Opcode& opcode = table[std::string("shfl.sync.") + mode + ".b32"];
    opcode.action = Action::kShuffle;
    opcode.shuffle = shuffle;
  }
  for (const uint8_t bits : {uint8_t{32}, uint8_t{64}}) {
    for (const Action action : {Action::kPack, Action::kUnpack}) {
      Opcode& opcode = table[(action == Action::kPack ? "pack.b" : "unpack.b") + std::to_string(bits)];
      opcode.action = action;
      opcode.result_bits = bits;
    }
  }
}

Table MakeTable() {
  Table table;
  AddInteger<int16_t>(table);
  AddInteger<uint16_t>(table);
  AddInteger<int32_t>(table);
  AddInteger<uint32_t>(table);
  AddInteger<int64_t>(table);
  AddInteger<uint64_t>(table);
  AddWide<int16_t, int32_t>(table);
  AddWide<uint16_t, uint32_t>(table);
  AddWide<int32_t, int64_t>(table);
  AddWide<uint32_t, uint64_t>(table);
  AddBits<uint16_t>(table);
  AddBits<uint32_t>(table);
  AddBits<uint64_t>(table);
  AddPredicates(table);
  AddFloat<float>(table);
  AddFloat<double>(table);
  AddIntegerConversions<uint8_t>(table);
  AddIntegerConversions<int8_t>(table);
  AddIntegerConversions<uint16_t>(table);
  AddIntegerConversions<int16_t>(table);
  AddIntegerConversions<uint32_t>(table);
  AddIntegerConversions<int32_t>(table);
  AddIntegerConversions<uint64_t>(table);
  AddIntegerConversions<int64_t>(table);
  AddFloatConversions(table);
  AddMemory(table);
  AddControl(table);
  // Between generic and global addresses: the same number.
  Add<uint64_t, [](uint64_t a) { return a; }, uint64_t>(table, "cvta.to.global.u64");
  Add<uint64_t, [](uint64_t a) { return a; }, uint64_t>(table, "cvta.global.u64");
  Add<uint32_t, PermuteBytes, uint32_t, uint32_t, uint32_t>(table, "prmt.b32");
  Add<uint32_t, LogicTable, uint32_t, uint32_t, uint32_t, uint32_t>(table, "lop3.b32");
  Add<uint32_t, FunnelLeft, uint32_t, uint32_t, uint32_t>(table, "shf.l.wrap.b32");
  Add<uint32_t, FunnelRight, uint32_t, uint32_t, uint32_t>(table, "shf.r.wrap.b32");
  return table;
}

}  // namespace

const Opcode* FindOpcode(std::string_view name) {
  static const auto& table = *new Table(MakeTable());
  const auto found = table.find(name);
  return found != table.end() ? &found->second : nullptr;
}

}  // namespace kldiv::ptx
