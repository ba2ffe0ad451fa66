#ifndef KLDIV_SERVER_SECURITY_SHA256_H_
#define KLDIV_SERVER_SECURITY_SHA256_H_

#include <array>
#include <cstdint>
#include <string_view>

namespace kldiv::server {

using Sha256Bytes = std::array<uint8_t, 32>;

// Any thread.
Sha256Bytes Sha256(std::string_view text);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_SECURITY_SHA256_H_
