#ifndef KLDIV_SERVER_NET_LISTEN_ADDRESS_H_
#define KLDIV_SERVER_NET_LISTEN_ADDRESS_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace kldiv::server {

// Where to listen, as a flag names it.
struct ListenAddress {
  std::string host;  // "127.0.0.1", "::1" (without brackets), "localhost"; empty for a Unix socket
  int port = 0;      // 0: any free one
  std::string path;  // of the Unix socket; empty for TCP

  bool is_tcp() const { return path.empty(); }
  // Is it TCP that no other machine can reach: 127.0.0.0/8, ::1 or localhost, as it is written?
  bool is_loopback() const;

  // As it was written: "127.0.0.1:50051", "[::1]:50051", "unix:/run/kldiv.sock".
  std::string ToString() const;
};

// HOST:PORT, [IPV6]:PORT or unix:PATH. Does not look the host up.
//
// INVALID_ARGUMENT: the text and what was expected of it.
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_NET_LISTEN_ADDRESS_H_
