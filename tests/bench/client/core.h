#ifndef KLDIV_TESTS_BENCH_CLIENT_CORE_H_
#define KLDIV_TESTS_BENCH_CLIENT_CORE_H_

#include <grpc/grpc.h>

#include <string>
#include <string_view>
#include <vector>

#include "tests/bench/client/request.h"

// gRPC's core as a client uses it: channels, one completion queue, messages.
namespace kldiv::bench {

// Holds gRPC's library, a completion queue and channels, each a connection of its own.
class Core {
 public:
  // `request` outlives it.
  Core(const std::string& server, int channels, const Request& request);
  ~Core();  // after the last call has ended

  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  grpc_completion_queue* queue() const { return queue_; }
  size_t channels() const { return channels_.size(); }

  // A call of the request's method on the channel with this number.
  grpc_call* NewCall(size_t channel) const;
  // The request, for one call; its bytes are not copied.
  grpc_byte_buffer* NewMessage() const;

 private:
  struct Channel {
    grpc_channel* channel;
    void* method;  // registered
  };

  grpc_slice message_;
  grpc_completion_queue* queue_;
  std::vector<Channel> channels_;
};

// Copies a short message.
std::string Contents(grpc_byte_buffer* buffer);

}  // namespace kldiv::bench

#endif  // KLDIV_TESTS_BENCH_CLIENT_CORE_H_
