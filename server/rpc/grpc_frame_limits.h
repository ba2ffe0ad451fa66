#ifndef KLDIV_SERVER_RPC_GRPC_FRAME_LIMITS_H_
#define KLDIV_SERVER_RPC_GRPC_FRAME_LIMITS_H_

#include <chrono>

namespace kldiv::server {

// Of the calls that a connection has open at a time.
inline constexpr int kMaxStreamsPerConnection = 1024;

// Of the headers of one call.
inline constexpr int kMaxHeaderBytes = 64 << 10;

// Calls that a connection's client may reset: all that it may have open at once, and after those one in each
// such time.
inline constexpr int kMaxResetsAtOnce = kMaxStreamsPerConnection;
inline constexpr std::chrono::milliseconds kResetInterval{5};

// Linked into a program, this library puts itself before gRPC's parsers of frames and closes connections for
// three things that gRPC 1.51 lets them do to take all memory, and all of a polling thread's time:
//
// Headers without end. gRPC counts their size anew in each HTTP/2 frame, keeps a field that is cut into
// several frames in memory without a limit, and reads it from its begin with each of them. Here headers are
// over when they have kMaxHeaderBytes, or come in more frames than any client needs, before they are
// complete.
//
// Resets without end. A call that its client has reset counts no longer among those that are open, but what
// it took is freed only later, so that its successors pile up (CVE-2023-44487). Here kMaxResetsAtOnce and
// kResetInterval limit them.
//
// Calls without end. gRPC limits those that are open only after the client has acknowledged the limit. Here
// kMaxStreamsPerConnection holds from the begin.
//
// True: it does so. False: this is another gRPC, and its own limits are what remains.
bool FramesAreLimited();

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_GRPC_FRAME_LIMITS_H_
