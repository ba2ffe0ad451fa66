#ifndef KLDIV_SERVER_RPC_GRPC_HEADER_LIMIT_H_
#define KLDIV_SERVER_RPC_GRPC_HEADER_LIMIT_H_

namespace kldiv::server {

// Of the headers of one call.
inline constexpr int kMaxHeaderBytes = 64 << 10;

// gRPC 1.51 counts the size of headers anew in each HTTP/2 frame, keeps a field that is cut into several
// frames in memory without a limit, and reads it from its begin with each of them: one connection can so take
// all memory, and all of a polling thread's time. Linked into a program, this library puts itself before
// gRPC's parser of headers and closes connections whose headers are over kMaxHeaderBytes, or in more frames
// than any client needs, before they are complete.
//
// True: it does so. False: this is another gRPC, or one linked statically, and gRPC's own limit, that of each
// frame, is what remains.
bool HeadersAreLimitedAcrossFrames();

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_GRPC_HEADER_LIMIT_H_
