#ifndef KLDIV_TESTS_PTX_FUNCTION_PARSER_H_
#define KLDIV_TESTS_PTX_FUNCTION_PARSER_H_

#include "tests/ptx/module.h"
#include "tests/ptx/token_stream.h"

namespace kldiv::ptx {

// Reads what follows .entry or .func and adds it to the module, whose variables have been read.
void ParseFunction(TokenStream& tokens, bool is_kernel, Module& module);

}  // namespace kldiv::ptx

#endif  // KLDIV_TESTS_PTX_FUNCTION_PARSER_H_
