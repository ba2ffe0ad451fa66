#ifndef KLDIV_SERVER_BASE_VERSION_H_
#define KLDIV_SERVER_BASE_VERSION_H_

namespace kldiv::base {

// The project's version, "0.1.0".
inline constexpr char kVersion[] = KLDIV_VERSION;

}  // namespace kldiv::base

#endif  // KLDIV_SERVER_BASE_VERSION_H_
