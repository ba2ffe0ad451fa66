#include "server/build_info.h"

namespace kldiv::server {

const char kBuildInfo[] = KLDIV_BUILD_INFO;

}  // namespace kldiv::server
