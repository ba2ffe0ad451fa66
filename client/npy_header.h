#ifndef KLDIV_CLIENT_NPY_HEADER_H_
#define KLDIV_CLIENT_NPY_HEADER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace kldiv::npy {

inline constexpr size_t kMaxDimensions = 64;

// The dictionary in a .npy file's header, as it is written there.
struct Dictionary {
  std::string descr;
  bool fortran_order = false;
  std::vector<int64_t> shape;  // at most kMaxDimensions, none negative
};

// Reads the Python literal {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }: these three keys,
// each once, in any order, and white space. INVALID_ARGUMENT: where it is something else. Any text is safe.
absl::StatusOr<Dictionary> ParseDictionary(std::string_view text);

}  // namespace kldiv::npy

#endif  // KLDIV_CLIENT_NPY_HEADER_H_
