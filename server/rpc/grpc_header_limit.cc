#include "server/rpc/grpc_header_limit.h"

#include <grpcpp/version_info.h>

#if GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR == 51 && !defined(KLDIV_STATIC)
#include <dlfcn.h>
#include <grpc/slice.h>

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

struct grpc_metadata_batch;

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

OpenBlocks& Blocks() {
  static OpenBlocks* const blocks = new OpenBlocks;  // Connections may outlive whatever the program destroys.
  return *blocks;
}

// gRPC's own function of that name.
template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace
}  // namespace kldiv::server

// The functions of gRPC's library that these stand before; its own calls of them come here, because it calls
// them by their names. It does not install their header: these are the declarations that make the names and
// the calls.
namespace grpc_core {

class HPackParser {
 public:
  enum class Boundary : uint8_t { kNone, kEndOfHeaders, kEndOfStream };
  enum class Priority : uint8_t { kNone, kIncluded };
  struct LogInfo {
    uint32_t stream_id;
    uint8_t type;
    bool is_client;
  };

  ~HPackParser();
  void BeginFrame(grpc_metadata_batch* metadata, uint32_t size_limit, Boundary boundary, Priority priority,
                  LogInfo log_info);
  absl::Status Parse(const grpc_slice& slice, bool is_last);
};

HPackParser::~HPackParser() {
  static auto* const next = kldiv::server::Next<void(HPackParser*)>("_ZN9grpc_core11HPackParserD1Ev");
  kldiv::server::Blocks().Forget(this);
  next(this);
}

void HPackParser::BeginFrame(grpc_metadata_batch* metadata, uint32_t size_limit, Boundary boundary,
                             Priority priority, LogInfo log_info) {
  static auto* const next =
      kldiv::server::Next<void(HPackParser*, grpc_metadata_batch*, uint32_t, Boundary, Priority, LogInfo)>(
          "_ZN9grpc_core11HPackParser10BeginFrameEP19grpc_metadata_batchjNS0_8BoundaryENS0_8PriorityENS0_"
          "7LogInfoE");
  kldiv::server::Blocks().BeginFrame(this, boundary != Boundary::kNone);
  next(this, metadata, size_limit, boundary, priority, log_info);
}

absl::Status HPackParser::Parse(const grpc_slice& slice, bool is_last) {
  static auto* const next = kldiv::server::Next<absl::Status(HPackParser*, const grpc_slice&, bool)>(
      "_ZN9grpc_core11HPackParser5ParseERK10grpc_sliceb");
  if (!kldiv::server::Blocks().Take(this, GRPC_SLICE_LENGTH(slice), is_last)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("headers are over the limit of ", kldiv::server::kMaxHeaderBytes, " bytes"));
  }
  return next(this, slice, is_last);
}

}  // namespace grpc_core

namespace kldiv::server {

bool HeadersAreLimitedAcrossFrames() {
  // Whoever looks these up gets the first of that name.
  return dlsym(RTLD_DEFAULT, "_ZN9grpc_core11HPackParser5ParseERK10grpc_sliceb") !=
         dlsym(RTLD_NEXT, "_ZN9grpc_core11HPackParser5ParseERK10grpc_sliceb");
}

}  // namespace kldiv::server

#else

namespace kldiv::server {
bool HeadersAreLimitedAcrossFrames() { return false; }
}  // namespace kldiv::server

#endif
