#ifndef KLDIV_SERVER_BASE_FLAG_REGISTRY_H_
#define KLDIV_SERVER_BASE_FLAG_REGISTRY_H_

#include <map>
#include <string>

#include "absl/flags/commandlineflag.h"

namespace kldiv::base {

// The registry's flags by name (underscores), without those that Abseil itself may define. They live as long
// as the program.
std::map<std::string, absl::CommandLineFlag*> ProgramFlags();

}  // namespace kldiv::base

#endif  // KLDIV_SERVER_BASE_FLAG_REGISTRY_H_
