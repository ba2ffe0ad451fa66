#include "tests/ptx/function_parser.h"

#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace kldiv::ptx {
namespace {

class FunctionParser {
 public:
  FunctionParser(TokenStream& tokens, bool is_kernel, Module& module) : tokens_(tokens), module_(module) {
    function_.is_kernel = is_kernel;
    scopes_.emplace_back();
  }

  void Run() {
    if (tokens_.Peek() == "(") function_.results = ParseParameters();
    function_.name = tokens_.Next();
    if (tokens_.Peek() == "(") function_.parameters = ParseParameters();
    SkipTuning();
    if (!tokens_.Accept(";")) ParseBody();  // otherwise only declared
    if (!tokens_.ok()) return;
    Function& known = module_.functions[function_.name];
    if (known.code.empty()) known = std::move(function_);
  }

 private:
  // The names of one pair of braces.
  struct Scope {
    std::map<std::string, uint32_t> registers;
    std::map<std::string, Parameter> parameters;
  };

  // ---- Declarations.

  std::vector<Parameter> ParseParameters() {
    std::vector<Parameter> parameters;
    tokens_.Expect("(");
    while (tokens_.ok() && !tokens_.Accept(")")) {
      tokens_.Expect(".param");
      parameters.push_back(DeclareParameter());
      tokens_.Accept(",");
    }
    return parameters;
  }

  Parameter DeclareParameter() {
    const TokenStream::Declaration declared = tokens_.ParseDeclaration();
    uint32_t& end = function_.parameter_bytes;
    end = (end + declared.alignment - 1) / declared.alignment * declared.alignment;
    const Parameter parameter{end, declared.element_bytes * declared.count};
    end += parameter.bytes;
    scopes_.back().parameters[declared.name] = parameter;
    return parameter;
  }

  // What ptxas may do with the kernel: nothing that a result could show.
  void SkipTuning() {
    while (tokens_.Peek() == ".maxntid" || tokens_.Peek() == ".minnctapersm" ||
           tokens_.Peek() == ".reqntid" || tokens_.Peek() == ".maxnreg") {
      tokens_.Next();
      do {
        tokens_.ParseNumber();
      } while (tokens_.Accept(","));
    }
  }

  // .reg .b32 %r<100>; or .reg .b16 low, high;
  void DeclareRegisters() {
    const uint8_t bits = tokens_.TypeBits(tokens_.Next());
    if (bits == 8) return tokens_.Fail("a register of 8 bits");
    do {
      const std::string name = tokens_.Next();
      if (tokens_.Accept("<")) {
        const uint64_t count = tokens_.ParseNumber();
        for (uint64_t i = 0; i < count && tokens_.ok(); ++i) DeclareRegister(absl::StrCat(name, i), bits);
        tokens_.Expect(">");
      } else {
        DeclareRegister(name, bits);
      }
    } while (tokens_.Accept(","));
    tokens_.Expect(";");
  }

  void DeclareRegister(const std::string& name, uint8_t bits) {
    scopes_.back().registers[name] = static_cast<uint32_t>(function_.register_bits.size());
    function_.register_bits.push_back(bits);
  }

  void DeclareShared() {
    const TokenStream::Declaration declared = tokens_.ParseDeclaration();
    uint32_t& end = module_.shared_bytes;
    end = (end + declared.alignment - 1) / declared.alignment * declared.alignment;
    shared_[declared.name] = end;
    end += declared.element_bytes * declared.count;
    tokens_.Expect(";");
  }

  // ---- The body.

  void ParseBody() {
    tokens_.Expect("{");
    size_t depth = 1;
    while (tokens_.ok() && depth > 0) {
      if (tokens_.AtEnd()) return tokens_.Fail("the end of the text within " + function_.name);
      if (tokens_.Accept("{")) {
        ++depth;
        scopes_.emplace_back();
      } else if (tokens_.Accept("}")) {
        --depth;
        scopes_.pop_back();
      } else {
        ParseStatement();
      }
    }
    ResolveLabels();
    if (function_.code.empty()) tokens_.Fail("a function without instructions");
  }

  void ParseStatement() {
    const std::string& word = tokens_.Peek();
    if (tokens_.Peek(1) == ":") {
      ParseLabel();
    } else if (word == ".reg") {
      tokens_.Next();
      DeclareRegisters();
    } else if (word == ".param") {
      tokens_.Next();
      DeclareParameter();
      tokens_.Expect(";");
    } else if (word == ".shared") {
      tokens_.Next();
      DeclareShared();
    } else if (word == ".pragma") {
      tokens_.Next();
      tokens_.Next();
      tokens_.Expect(";");
    } else if (absl::StartsWith(word, ".")) {
      tokens_.Fail("directive " + tokens_.Next());
    } else {
      ParseInstruction();
    }
  }

  // name: or name: .branchtargets a, b;
  void ParseLabel() {
    const std::string name = tokens_.Next();
    tokens_.Expect(":");
    if (tokens_.Accept(".branchtargets")) {
      do {
        branch_targets_[name].push_back(tokens_.Next());
      } while (tokens_.Accept(","));
      tokens_.Expect(";");
    } else {
      labels_[name] = static_cast<int>(function_.code.size());
    }
  }

  void ParseInstruction() {
    Instruction instruction;
    if (tokens_.Accept("@")) {
      instruction.skip_when = tokens_.Accept("!");
      const Operand predicate = ParseRegister(tokens_.Next(), 1);
      instruction.predicate = static_cast<int>(predicate.index);
    }
    const std::string name = tokens_.Next();
    instruction.line = tokens_.line();
    instruction.opcode = FindOpcode(SpelledWithVector(name));
    if (instruction.opcode == nullptr) return tokens_.Fail("instruction " + name);
    ParseOperands(instruction);
    tokens_.Expect(";");
    function_.code.push_back(std::move(instruction));
  }

  // "mov.b64" is "pack.b64" or "unpack.b64" where its operands say so.
  std::string SpelledWithVector(const std::string& name) const {
    if (name != "mov.b64" && name != "mov.b32") return name;
    if (tokens_.Peek() == "{") return "un" + ("pack" + name.substr(3));
    if (tokens_.Peek(2) == "{") return "pack" + name.substr(3);
    return name;
  }

  void ParseOperands(Instruction& instruction) {
    const Opcode& opcode = *instruction.opcode;
    switch (opcode.action) {
      case Action::kCompute:
        return ParseComputation(instruction);
      case Action::kPack:
        return ParsePacking(instruction);
      case Action::kUnpack:
        return ParseUnpacking(instruction);
      case Action::kLoad:
        ParseVector(instruction);
        tokens_.Expect(",");
        return ParseAddress(instruction);
      case Action::kStore:
        ParseAddress(instruction);
        tokens_.Expect(",");
        return ParseVector(instruction);
      case Action::kBranch:
        instruction_labels_[function_.code.size()] = tokens_.Next();
        return;
      case Action::kIndexedBranch:
        AddOperand(instruction, ParseValue(32));
        tokens_.Expect(",");
        instruction_labels_[function_.code.size()] = tokens_.Next();
        return;
      case Action::kCall:
        return ParseCall(instruction);
      case Action::kBarrier:
        // Barrier 0 of the whole block; others have their own members.
        if (tokens_.Next() != "0") tokens_.Fail("a barrier other than 0");
        return;
      case Action::kWarpSync:
        return AddOperand(instruction, ParseValue(32));
      case Action::kShuffle:
        return ParseShuffle(instruction);
      case Action::kReturn:
      case Action::kTrap:
        return;
    }
  }

  void AddOperand(Instruction& instruction, const Operand& operand) {
    if (instruction.operand_count == kMaxOperands)
      return tokens_.Fail("an instruction with so many operands");
    instruction.operands[instruction.operand_count++] = operand;
  }

  void ParseComputation(Instruction& instruction) {
    const Opcode& opcode = *instruction.opcode;
    AddOperand(instruction, ParseRegister(tokens_.Next(), opcode.result_bits, opcode.converts));
    for (int i = 0; i < opcode.source_count; ++i) {
      tokens_.Expect(",");
      AddOperand(instruction, ParseValue(opcode.source_bits[i], opcode.converts));
    }
  }

  // Half of the whole each. Loads and stores of vectors take as many registers as elements.
  void ParsePacking(Instruction& instruction) {
    AddOperand(instruction, ParseRegister(tokens_.Next(), instruction.opcode->result_bits));
    tokens_.Expect(",");
    ParseHalves(instruction);
  }

  void ParseUnpacking(Instruction& instruction) {
    ParseHalves(instruction);
    tokens_.Expect(",");
    AddOperand(instruction, ParseValue(instruction.opcode->result_bits));
  }

  void ParseHalves(Instruction& instruction) {
    const auto half = static_cast<uint8_t>(instruction.opcode->result_bits / 2);
    tokens_.Expect("{");
    AddOperand(instruction, ParseValue(half));
    tokens_.Expect(",");
    AddOperand(instruction, ParseValue(half));
    tokens_.Expect("}");
  }

  void ParseVector(Instruction& instruction) {
    const Opcode& opcode = *instruction.opcode;
    const auto bits = static_cast<uint8_t>(8 * opcode.element_bytes);
    if (opcode.elements == 1) return AddOperand(instruction, ParseValue(bits, /*wider=*/true));
    tokens_.Expect("{");
    for (int i = 0; i < opcode.elements; ++i) {
      if (i > 0) tokens_.Expect(",");
      AddOperand(instruction, ParseValue(bits, /*wider=*/true));
    }
    tokens_.Expect("}");
  }

  // [base], [base+offset] or [name+offset], as a base and an offset.
  void ParseAddress(Instruction& instruction) {
    const Space space = instruction.opcode->space;
    tokens_.Expect("[");
    const std::string& word = tokens_.Peek();
    if (space == Space::kParameter) {
      AddOperand(instruction, ParseParameter());
    } else {
      const bool is_name = !absl::StartsWith(word, "%");
      AddOperand(instruction, is_name ? ParseValue(64) : ParseValue(space == Space::kShared ? 32 : 64, true));
    }
    Operand offset;
    if (tokens_.Accept("+")) offset.value = tokens_.ParseNumber();
    AddOperand(instruction, offset);
    tokens_.Expect("]");
  }

  // (result), name, (argument, …)
  void ParseCall(Instruction& instruction) {
    if (tokens_.Peek() == "(") {
      instruction.call_results = ParseParameterList();
      tokens_.Expect(",");
    }
    instruction.callee = tokens_.Next();
    if (tokens_.Accept(",")) instruction.call_arguments = ParseParameterList();
  }

  std::vector<Operand> ParseParameterList() {
    std::vector<Operand> parameters;
    tokens_.Expect("(");
    while (tokens_.ok() && !tokens_.Accept(")")) {
      parameters.push_back(ParseParameter());
      tokens_.Accept(",");
    }
    return parameters;
  }

  // Destination (and its |predicate, which is added last), value, lane operand, clamp, mask.
  void ParseShuffle(Instruction& instruction) {
    AddOperand(instruction, ParseRegister(tokens_.Next(), 32));
    std::optional<Operand> in_range;
    if (tokens_.Accept("|")) in_range = ParseRegister(tokens_.Next(), 1);
    for (int i = 0; i < 4; ++i) {
      tokens_.Expect(",");
      AddOperand(instruction, ParseValue(32));
    }
    if (in_range.has_value()) AddOperand(instruction, *in_range);
  }

  // ---- Operands.

  Operand ParseRegister(const std::string& name, uint8_t bits, bool wider = false) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto found = scope->registers.find(name);
      if (found == scope->registers.end()) continue;
      const uint8_t declared = function_.register_bits[found->second];
      if (declared != bits && !(wider && declared > bits)) {
        tokens_.Fail(absl::StrCat("register ", name, " of ", declared, " bits where ", bits, " are needed"));
      }
      Operand operand;
      operand.kind = Operand::Kind::kRegister;
      operand.index = found->second;
      return operand;
    }
    tokens_.Fail("register '" + name + "'");
    return {};
  }

  Operand ParseParameter() {
    const std::string name = tokens_.Next();
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto found = scope->parameters.find(name);
      if (found == scope->parameters.end()) continue;
      Operand operand;
      operand.kind = Operand::Kind::kParameter;
      operand.index = found->second.offset;
      return operand;
    }
    tokens_.Fail("parameter '" + name + "'");
    return {};
  }

  // A register, a special register, a number, or the address of a variable.
  Operand ParseValue(uint8_t bits, bool wider = false) {
    Operand operand;
    if (IsNumber(tokens_.Peek())) {
      operand.value = tokens_.ParseNumber();
      return operand;
    }
    const std::string word = tokens_.Next();
    static const auto& special = *new std::map<std::string, SpecialRegister>{
        {"%tid.x", SpecialRegister::kThread},        {"%ctaid.x", SpecialRegister::kBlock},
        {"%ntid.x", SpecialRegister::kBlockThreads}, {"%nctaid.x", SpecialRegister::kGridBlocks},
        {"%laneid", SpecialRegister::kLane},         {"%tid.y", SpecialRegister::kZero},
        {"%tid.z", SpecialRegister::kZero},          {"%ctaid.y", SpecialRegister::kZero},
        {"%ctaid.z", SpecialRegister::kZero},        {"%ntid.y", SpecialRegister::kOne},
        {"%ntid.z", SpecialRegister::kOne},          {"%nctaid.y", SpecialRegister::kOne},
        {"%nctaid.z", SpecialRegister::kOne}};
    if (const auto found = special.find(word); found != special.end()) {
      operand.kind = Operand::Kind::kSpecial;
      operand.special = found->second;
      return operand;
    }
    if (const auto found = shared_.find(word); found != shared_.end()) {
      operand.value = found->second;
      return operand;
    }
    if (const auto found = module_.variables.find(word); found != module_.variables.end()) {
      operand.value = reinterpret_cast<uintptr_t>(found->second.storage.data());
      return operand;
    }
    return ParseRegister(word, bits, wider);
  }

  // ---- Labels.

  void ResolveLabels() {
    for (const auto& [number, name] : instruction_labels_) {
      Instruction& branch = function_.code[number];
      std::vector<std::string> names = {name};
      if (branch.opcode->action == Action::kIndexedBranch) names = branch_targets_[name];
      for (const std::string& target : names) {
        const auto found = labels_.find(target);
        if (found == labels_.end()) return tokens_.Fail("label " + target);
        branch.targets.push_back(found->second);
      }
    }
  }

  TokenStream& tokens_;
  Module& module_;
  Function function_;
  std::vector<Scope> scopes_;
  std::map<std::string, uint32_t> shared_;
  std::map<std::string, int> labels_;
  std::map<std::string, std::vector<std::string>> branch_targets_;
  std::map<size_t, std::string> instruction_labels_;  // of branches, by instruction number
};

}  // namespace

void ParseFunction(TokenStream& tokens, bool is_kernel, Module& module) {
  FunctionParser(tokens, is_kernel, module).Run();
}

}  // namespace kldiv::ptx
