#include "server/rpc/grpc_frame_limits.h"

#include <grpcpp/version_info.h>

#if GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR == 51
#include <dlfcn.h>
#include <grpc/slice.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace kldiv::server {
namespace {

// A client needs one frame for each 16 KiB.
constexpr int kMaxHeaderFrames = 32;

// Header blocks under way that are in several pieces, by their parser. Others, nearly all, are not recorded.
class OpenBlocks {
 public:
  // A piece of a block begins. `ends_block`: no other frame follows.
  void BeginFrame(const void* parser, bool ends_block) {
    if (ends_block && count_.load(std::memory_order_relaxed) == 0) return;
    const absl::MutexLock lock(&mutex_);
    const auto found = blocks_.find(parser);
    if (found == blocks_.end() && ends_block) return;
    Block& block = found == blocks_.end() ? Open(parser) : found->second;
    block.ends = ends_block;
    ++block.frames;
  }

  // Bytes of the frame that has begun, the last of them if `ends_frame`. False: the block is over the limits.
  bool Take(const void* parser, size_t bytes, bool ends_frame) {
    if (ends_frame && count_.load(std::memory_order_relaxed) == 0) return true;
    const absl::MutexLock lock(&mutex_);
    const auto found = blocks_.find(parser);
    if (found == blocks_.end() && ends_frame) return true;
    Block& block = found == blocks_.end() ? Open(parser) : found->second;
    block.bytes += bytes;
    const bool allowed = block.bytes <= kMaxHeaderBytes && block.frames <= kMaxHeaderFrames;
    if (ends_frame && block.ends) Close(parser);
    return allowed;
  }

  void Forget(const void* parser) {
    if (count_.load(std::memory_order_relaxed) == 0) return;
    const absl::MutexLock lock(&mutex_);
    Close(parser);
  }

 private:
  struct Block {
    size_t bytes = 0;
    int frames = 0;
    bool ends = true;  // with the frame that has begun
  };

  Block& Open(const void* parser) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    count_.fetch_add(1, std::memory_order_relaxed);
    return blocks_[parser];
  }
  void Close(const void* parser) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (blocks_.erase(parser) > 0) count_.fetch_sub(1, std::memory_order_relaxed);
  }

  // Whoever has a block open sees it counted: a parser is used by one thread after the other.
  std::atomic<int> count_{0};
  absl::Mutex mutex_;
  absl::flat_hash_map<const void*, Block> blocks_ ABSL_GUARDED_BY(mutex_);
};

// What connections whose clients have reset calls may still reset. Others, nearly all, are not recorded.
class ResetAllowances {
 public:
  // A call is reset. False: over the limit.
  bool Take(const void* transport) {
    const auto now = std::chrono::steady_clock::now();
    const absl::MutexLock lock(&mutex_);
    const auto [allowance, is_new] = whole_at_.try_emplace(transport, now);
    if (is_new) count_.fetch_add(1, std::memory_order_relaxed);
    const auto whole_at = std::max(allowance->second, now) + kResetInterval;
    if (whole_at - now > kMaxResetsAtOnce * kResetInterval) return false;
    allowance->second = whole_at;
    return true;
  }

  void Forget(const void* transport) {
    if (count_.load(std::memory_order_relaxed) == 0) return;
    const absl::MutexLock lock(&mutex_);
    if (whole_at_.erase(transport) > 0) count_.fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  // Whoever has reset a call sees it counted: a transport is used by one thread after the other.
  std::atomic<int> count_{0};
  absl::Mutex mutex_;
  // By transport, when its allowance is whole again; each reset puts that off by kResetInterval.
  absl::flat_hash_map<const void*, std::chrono::steady_clock::time_point> whole_at_ ABSL_GUARDED_BY(mutex_);
};

// Connections may outlive whatever the program destroys.
OpenBlocks& Blocks() {
  static OpenBlocks* const blocks = new OpenBlocks;
  return *blocks;
}
ResetAllowances& Allowances() {
  static ResetAllowances* const allowances = new ResetAllowances;
  return *allowances;
}

// Where in a transport its parser of headers is: in each at the same place, known from the first headers on.
std::atomic<ptrdiff_t> g_parser_offset{0};

}  // namespace

// gRPC does not install the headers of the functions that these stand before: the symbols and the parameters
// are what makes the calls. Its own calls of them come here because each is made, or its address taken, in
// another file than it is defined in, by its name.
//
// KLDIV_BEFORE_GRPC(symbol, result, Name, parameters...) declares Name, which is called in place of gRPC's
// function of that symbol, and kGrpcName, that function.
#ifdef KLDIV_STATIC  // The linker makes these names: --wrap in grpc_transport.cmake.
#define KLDIV_BEFORE_GRPC(symbol, result, name, ...)        \
  result name(__VA_ARGS__) __asm__("__wrap_" symbol);       \
  result Real##name(__VA_ARGS__) __asm__("__real_" symbol); \
  constexpr auto* kGrpc##name = &Real##name
#else  // The program's functions go before those of its libraries.
#define KLDIV_BEFORE_GRPC(symbol, result, name, ...) \
  result name(__VA_ARGS__) __asm__(symbol);          \
  auto* const kGrpc##name = reinterpret_cast<result (*)(__VA_ARGS__)>(dlsym(RTLD_NEXT, symbol))
#endif

#define KLDIV_HEADER_PARSE \
  "_Z31grpc_chttp2_header_parser_parsePvP21grpc_chttp2_transportP18grpc_chttp2_streamRK10grpc_slicei"
#define KLDIV_RESET_PARSE \
  "_Z35grpc_chttp2_rst_stream_parser_parsePvP21grpc_chttp2_transportP18grpc_chttp2_streamRK10grpc_slicei"
#define KLDIV_HEADER_BEGIN_FRAME                                                                           \
  "_ZN9grpc_core11HPackParser10BeginFrameEP19grpc_metadata_batchjNS0_8BoundaryENS0_8PriorityENS0_7LogInfo" \
  "E"
#define KLDIV_HEADER_PARSER_END "_ZN9grpc_core11HPackParserD1Ev"
#define KLDIV_COUNT_STREAMS "_Z27grpc_chttp2_stream_map_sizeP22grpc_chttp2_stream_map"

enum class Boundary : uint8_t { kNone, kEndOfHeaders, kEndOfStream };
struct LogInfo {
  uint32_t stream_id;
  uint8_t type;
  bool is_client;
};

KLDIV_BEFORE_GRPC(KLDIV_HEADER_BEGIN_FRAME, void, BeginHeaderFrame, void* parser, void* metadata,
                  uint32_t size_limit, Boundary boundary, uint8_t priority, LogInfo log_info);
KLDIV_BEFORE_GRPC(KLDIV_HEADER_PARSE, absl::Status, ParseHeaders, void* parser, void* transport, void* stream,
                  const grpc_slice& slice, int is_last);
KLDIV_BEFORE_GRPC(KLDIV_RESET_PARSE, absl::Status, ParseReset, void* parser, void* transport, void* stream,
                  const grpc_slice& slice, int is_last);
KLDIV_BEFORE_GRPC(KLDIV_HEADER_PARSER_END, void, EndHeaderParser, void* parser);
KLDIV_BEFORE_GRPC(KLDIV_COUNT_STREAMS, size_t, CountStreams, void* streams);

void BeginHeaderFrame(void* parser, void* metadata, uint32_t size_limit, Boundary boundary, uint8_t priority,
                      LogInfo log_info) {
  Blocks().BeginFrame(parser, boundary != Boundary::kNone);
  kGrpcBeginHeaderFrame(parser, metadata, size_limit, boundary, priority, log_info);
}

absl::Status ParseHeaders(void* parser, void* transport, void* stream, const grpc_slice& slice, int is_last) {
  const ptrdiff_t offset = static_cast<char*>(parser) - static_cast<char*>(transport);
  if (g_parser_offset.load(std::memory_order_relaxed) != offset) {
    g_parser_offset.store(offset, std::memory_order_relaxed);
  }
  if (!Blocks().Take(parser, GRPC_SLICE_LENGTH(slice), is_last != 0)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("headers are over the limit of ", kMaxHeaderBytes, " bytes"));
  }
  return kGrpcParseHeaders(parser, transport, stream, slice, is_last);
}

// Only of calls that are open; of others gRPC skips them.
absl::Status ParseReset(void* parser, void* transport, void* stream, const grpc_slice& slice, int is_last) {
  if (is_last != 0 && !Allowances().Take(transport)) {
    return absl::ResourceExhaustedError(absl::StrCat("more than ", kMaxResetsAtOnce,
                                                     " calls are reset, and more often than every ",
                                                     kResetInterval.count(), " ms"));
  }
  return kGrpcParseReset(parser, transport, stream, slice, is_last);
}

// Its transport ends with it.
void EndHeaderParser(void* parser) {
  Blocks().Forget(parser);
  Allowances().Forget(static_cast<char*>(parser) - g_parser_offset.load(std::memory_order_relaxed));
  kGrpcEndHeaderParser(parser);
}

// gRPC asks this before it opens one more, to compare it with what the client has acknowledged. Elsewhere it
// asks whether there are any.
size_t CountStreams(void* streams) {
  const size_t count = kGrpcCountStreams(streams);
  return count < kMaxStreamsPerConnection ? count : std::numeric_limits<size_t>::max();
}

bool FramesAreLimited() {
#ifndef KLDIV_STATIC
  for (const char* const symbol : {(KLDIV_HEADER_BEGIN_FRAME), KLDIV_HEADER_PARSE, KLDIV_RESET_PARSE,
                                   KLDIV_HEADER_PARSER_END, KLDIV_COUNT_STREAMS}) {
    // Whoever looks these up gets the first of that name.
    if (dlsym(RTLD_DEFAULT, symbol) == dlsym(RTLD_NEXT, symbol)) return false;
  }
#endif
  return true;
}

}  // namespace kldiv::server

#else

namespace kldiv::server {
bool FramesAreLimited() { return false; }
}  // namespace kldiv::server

#endif
