#ifndef KLDIV_SERVER_BUILD_INFO_H_
#define KLDIV_SERVER_BUILD_INFO_H_

namespace kldiv::server {

// How this binary was built: "commit 1a2b3c4, gRPC 1.51.1, CUDA 13.0, Release".
extern const char kBuildInfo[];

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_BUILD_INFO_H_
