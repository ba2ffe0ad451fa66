#include "tests/ptx/parser.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/ptx/function_parser.h"
#include "tests/ptx/token_stream.h"

namespace kldiv::ptx {
namespace {

// The module's level of the grammar.
class ModuleParser {
 public:
  explicit ModuleParser(std::string_view text) : tokens_(text) {}

  absl::StatusOr<Module> Run() {
    while (tokens_.ok() && !tokens_.AtEnd()) ParseItem();
    if (tokens_.ok()) CheckCalls();
    if (!tokens_.ok()) return tokens_.status();
    return std::move(module_);
  }

 private:
  void ParseItem() {
    const std::string word = tokens_.Next();
    if (word == ".version" || word == ".address_size") {
      tokens_.Next();
    } else if (word == ".target") {
      do {
        tokens_.Next();
      } while (tokens_.Accept(","));
    } else if (word == ".visible" || word == ".weak" || word == ".extern") {
      // Linkage means nothing within one module.
    } else if (word == ".const" || word == ".global") {
      ParseVariable(word == ".const");
    } else if (word == ".entry" || word == ".func") {
      ParseFunction(tokens_, word == ".entry", module_);
    } else {
      tokens_.Fail("directive " + word);
    }
  }

  // .align 8 .b8 name[64] = {1, 2, …};
  void ParseVariable(bool is_constant) {
    const TokenStream::Declaration declared = tokens_.ParseDeclaration();
    Variable& variable = module_.variables[declared.name];
    variable.is_constant = is_constant;
    variable.bytes = size_t{declared.element_bytes} * declared.count;
    variable.storage.assign((variable.bytes + 7) / 8, 0);
    if (tokens_.Accept("=")) ParseInitializer(declared.element_bytes, variable);
    tokens_.Expect(";");
  }

  void ParseInitializer(uint32_t element_bytes, Variable& variable) {
    auto* bytes = reinterpret_cast<uint8_t*>(variable.storage.data());
    const bool is_list = tokens_.Accept("{");
    size_t at = 0;
    do {
      const uint64_t value = tokens_.ParseNumber();
      if (at + element_bytes > variable.bytes) return tokens_.Fail("an initializer longer than its variable");
      for (uint32_t i = 0; i < element_bytes; ++i) bytes[at++] = static_cast<uint8_t>(value >> (8 * i));
    } while (is_list && tokens_.ok() && tokens_.Accept(","));
    if (is_list) tokens_.Expect("}");
  }

  void CheckCalls() {
    for (const auto& [name, function] : module_.functions) {
      for (const Instruction& instruction : function.code) {
        if (instruction.opcode->action != Action::kCall) continue;
        const auto callee = module_.functions.find(instruction.callee);
        if (callee == module_.functions.end() || callee->second.code.empty()) {
          return tokens_.Fail("call of " + instruction.callee + ", which has no body,");
        }
        if (callee->second.parameters.size() != instruction.call_arguments.size() ||
            callee->second.results.size() != instruction.call_results.size()) {
          return tokens_.Fail("call of " + instruction.callee + " with another number of parameters");
        }
      }
    }
  }

  TokenStream tokens_;
  Module module_;
};

}  // namespace

absl::StatusOr<Module> Parse(std::string_view text) { return ModuleParser(text).Run(); }

}  // namespace kldiv::ptx
