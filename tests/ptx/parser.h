#ifndef KLDIV_TESTS_PTX_PARSER_H_
#define KLDIV_TESTS_PTX_PARSER_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "tests/ptx/module.h"

namespace kldiv::ptx {

// The module that the text describes.
//
// INVALID_ARGUMENT, naming the line, for everything that is not known for certain to be understood: an
// instruction or modifier that FindOpcode does not know, a directive, a register that is not declared or has
// another width than the instruction, local memory.
absl::StatusOr<Module> Parse(std::string_view text);

}  // namespace kldiv::ptx

#endif  // KLDIV_TESTS_PTX_PARSER_H_
