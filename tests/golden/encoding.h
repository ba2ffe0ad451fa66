#ifndef KLDIV_TESTS_GOLDEN_ENCODING_H_
#define KLDIV_TESTS_GOLDEN_ENCODING_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "server/numerics/formula.h"

// How the golden files write tensors. Each function throws std::runtime_error on what it cannot read.
namespace kldiv::golden {

// The lines of a file of the golden folder, parsed. KLDIV_GOLDEN_FOLDER in the environment names the folder
// for tests that run elsewhere than they were built.
std::vector<nlohmann::json> ReadLines(const std::string& file_name);

numerics::DType ParseDType(const std::string& name);
std::string Base64Decode(std::string_view text);
uint32_t Crc32(std::string_view bytes);  // zlib's

// Elements made by a rule: with s = seed at first, for each element s += 9e3779b97f4a7c15, mixed into z as
// splitmix64 does, and the element's exponent field is lo + (z >> 52) mod (hi - lo + 1), its fraction z's
// lowest bits.
struct Rule {
  uint64_t seed = 0;
  int sign = 0;
  int lowest_exponent = 0;
  int highest_exponent = 0;
};
std::string Generate(const Rule& rule, numerics::DType dtype, int64_t elements);

// A tensor written as {"dtype", "data"} or {"dtype", "seed", "sign", "exponent", "patch"}.
std::string ParseTensor(const nlohmann::json& json, int64_t elements);

}  // namespace kldiv::golden

#endif  // KLDIV_TESTS_GOLDEN_ENCODING_H_
