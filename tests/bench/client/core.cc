#include "tests/bench/client/core.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>

namespace kldiv::bench {
namespace {

grpc_arg IntegerArgument(const char* key, int value) {
  grpc_arg argument{};
  argument.type = GRPC_ARG_INTEGER;
  argument.key = const_cast<char*>(key);
  argument.value.integer = value;
  return argument;
}

}  // namespace

Core::Core(const std::string& server, int channels, const Request& request)
    : message_(grpc_slice_from_static_buffer(request.bytes().data(), request.bytes().size())) {
  grpc_init();
  queue_ = grpc_completion_queue_create_for_next(nullptr);
  // Otherwise channels with the same arguments would share a connection.
  grpc_arg arguments[] = {IntegerArgument(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
                          IntegerArgument(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, -1),
                          IntegerArgument(GRPC_ARG_ENABLE_RETRIES, 0)};
  const grpc_channel_args channel_arguments{std::size(arguments), arguments};
  grpc_channel_credentials* const insecure = grpc_insecure_credentials_create();
  for (int i = 0; i < channels; ++i) {
    grpc_channel* const channel = grpc_channel_create(server.c_str(), insecure, &channel_arguments);
    channels_.push_back({channel, grpc_channel_register_call(channel, request.path(), nullptr, nullptr)});
  }
  grpc_channel_credentials_release(insecure);
}

Core::~Core() {
  for (const Channel& channel : channels_) grpc_channel_destroy(channel.channel);
  grpc_completion_queue_shutdown(queue_);
  while (grpc_completion_queue_next(queue_, gpr_inf_future(GPR_CLOCK_REALTIME), nullptr).type !=
         GRPC_QUEUE_SHUTDOWN) {
  }
  grpc_completion_queue_destroy(queue_);
  grpc_shutdown();
}

grpc_call* Core::NewCall(size_t channel) const {
  return grpc_channel_create_registered_call(channels_[channel].channel, nullptr, GRPC_PROPAGATE_DEFAULTS,
                                             queue_, channels_[channel].method,
                                             gpr_inf_future(GPR_CLOCK_REALTIME), nullptr);
}

grpc_byte_buffer* Core::NewMessage() const {
  grpc_slice slice = message_;  // static: counted by nobody
  return grpc_raw_byte_buffer_create(&slice, 1);
}

std::string Contents(grpc_byte_buffer* buffer) {
  grpc_byte_buffer_reader reader;
  if (grpc_byte_buffer_reader_init(&reader, buffer) == 0) return "";
  const grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
  std::string contents(reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(all)), GRPC_SLICE_LENGTH(all));
  grpc_slice_unref(all);
  grpc_byte_buffer_reader_destroy(&reader);
  return contents;
}

}  // namespace kldiv::bench
