#include "server/rpc/grpc_transport.h"

#include <grpc/grpc.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/impl/codegen/rpc_service_method.h>
#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/resource_quota.h>
#include <pthread.h>

#include <thread>
#include <utility>
#include <vector>

#include "server/observability/log.h"
#include "server/rpc/grpc_call.h"
#include "server/rpc/grpc_frame_limits.h"

namespace kldiv::server {
namespace {

constexpr int kMaxFrameBytes = 1 << 20;
constexpr int kHandshakeTimeoutMs = 10'000;
constexpr int kMinPingIntervalMs = 10'000;

// Calls of a method that wait for headers, per queue. While one is being taken the others keep gRPC from
// queueing calls of its own.
constexpr int kArmedEvaluations = 32;
constexpr int kArmedOthers = 4;

constexpr Method kEvaluationMethods[] = {Method::kEvaluate, Method::kEvaluateBatch, Method::kEvaluateStream,
                                         Method::kGetServerInfo};
constexpr Method kHealthMethods[] = {Method::kHealthCheck, Method::kHealthWatch};

int Milliseconds(std::chrono::milliseconds duration) { return static_cast<int>(duration.count()); }

bool IsEvaluation(Method method) {
  return method == Method::kEvaluate || method == Method::kEvaluateBatch || method == Method::kEvaluateStream;
}

// A service as the code generator would make it, except that each method is an asynchronous bidirectional
// stream of raw bytes.
class RawService final : public grpc::Service {
 public:
  explicit RawService(std::span<const Method> methods) : methods_(methods) {
    for (size_t i = 0; i < methods.size(); ++i) {
      auto* const method = new grpc::internal::RpcServiceMethod(
          PathOf(methods[i]), grpc::internal::RpcMethod::BIDI_STREAMING, nullptr);
      registered_.push_back(method);
      AddMethod(method);  // Takes it over.
      MarkMethodAsync(static_cast<int>(i));
    }
  }

  void Arm(GrpcCallContext& context) const {
    for (size_t i = 0; i < methods_.size(); ++i) {
      const int count = IsEvaluation(methods_[i]) ? kArmedEvaluations : kArmedOthers;
      for (int n = 0; n < count; ++n) GrpcCall::Arm(context, methods_[i], registered_[i]->server_tag());
    }
  }

 private:
  const std::span<const Method> methods_;
  std::vector<grpc::internal::RpcServiceMethod*> registered_;
};

struct Queue {
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  GrpcCallContext context;
  std::thread thread;
};

// An idle core takes longer to wake than a small call takes to serve, and the client that wakes it pays as
// well. So between two calls that follow closely the queue is asked again and again for so long before the
// thread sleeps. Not while calls are under way: what computes or sends for them may want the core.
constexpr std::chrono::microseconds kSpin{50};

// `closely`: whether the last event came within kSpin.
grpc_event NextEvent(const GrpcCallContext& context, bool& closely) {
  const auto begin = std::chrono::steady_clock::now();
  const auto is_early = [begin] { return std::chrono::steady_clock::now() - begin < kSpin; };
  grpc_event event{.type = GRPC_QUEUE_TIMEOUT, .success = 0, .tag = nullptr};
  while (closely && event.type == GRPC_QUEUE_TIMEOUT && context.live.empty() && is_early()) {
    event = grpc_completion_queue_next(context.queue, gpr_inf_past(GPR_CLOCK_MONOTONIC), nullptr);
  }
  if (event.type == GRPC_QUEUE_TIMEOUT) {
    event = grpc_completion_queue_next(context.queue, gpr_inf_future(GPR_CLOCK_REALTIME), nullptr);
  }
  closely = is_early();
  return event;
}

void Poll(const GrpcCallContext& context) {
  bool closely = false;
  for (;;) {
    const grpc_event event = NextEvent(context, closely);
    if (event.type == GRPC_QUEUE_SHUTDOWN) return;
    GrpcCall::Deliver(event.tag, event.success != 0);
  }
}

class GrpcTransportImpl final : public GrpcTransport {
 public:
  GrpcTransportImpl(const GrpcTransportOptions& options, grpc::ServerBuilder& builder)
      : options_(options), kl_divergence_(kEvaluationMethods), health_(kHealthMethods) {
    Configure(builder);
    if (!options.health_only) builder.RegisterService(&kl_divergence_);
    builder.RegisterService(&health_);
    // Never asked for a call: without it gRPC's C++ layer answers unknown methods by events of its own in our
    // queues.
    builder.RegisterAsyncGenericService(&generic_);
    for (int i = 0; i < options.polling_threads; ++i) {
      queues_.push_back(std::make_unique<Queue>());
      queues_.back()->queue = builder.AddCompletionQueue();
    }
  }

  void Start(grpc::Server& server, Service& service) override {
    for (const auto& queue : queues_) {
      queue->context.server = server.c_server();
      queue->context.queue = queue->queue->cq();
      queue->context.service = &service;
      queue->context.metrics = &options_.metrics->NewShard();
      queue->context.max_message_bytes = options_.max_message_bytes;
      if (!options_.health_only) kl_divergence_.Arm(queue->context);
      health_.Arm(queue->context);
      for (int i = 0; i < kArmedOthers; ++i) GrpcCall::Arm(queue->context, Method::kUnknown, nullptr);
      queue->thread = std::thread([this, &context = queue->context] {
        pthread_setname_np(pthread_self(), "kldiv-poll");
        if (options_.on_thread_start) options_.on_thread_start();
        Poll(context);
      });
    }
  }

  void Tick(std::chrono::steady_clock::time_point now) override {
    const absl::Status status =
        absl::DeadlineExceededError("the answer was not taken within --write_timeout");
    for (const auto& queue : queues_)
      queue->context.live.AbortSendsSince(now - options_.write_timeout, status);
  }

  bool WaitUntilIdle(std::chrono::milliseconds timeout) override {
    const auto end = std::chrono::steady_clock::now() + timeout;
    for (const auto& queue : queues_) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
      if (!queue->context.live.WaitUntilNone(left)) return false;
    }
    return true;
  }

  bool Stop(std::chrono::milliseconds timeout) override {
    if (!WaitUntilIdle(timeout)) return false;
    for (const auto& queue : queues_) queue->queue->Shutdown();
    for (const auto& queue : queues_) queue->thread.join();
    return true;
  }

 private:
  void Configure(grpc::ServerBuilder& builder) const {
    grpc::ResourceQuota quota("kldiv");
    quota.Resize(static_cast<size_t>(options_.max_memory));
    builder.SetResourceQuota(quota);
    builder.SetMaxReceiveMessageSize(
        -1);  // It would be looked at no earlier than we do, and tell us nothing.
    builder.SetMaxSendMessageSize(-1);
    // Without the probe a connection's window stays small: with it, it grows to 24 MiB for every withheld
    // read.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kLookaheadBytes);
    // The probe would have let frames grow as well.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kMaxFrameBytes);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxHeaderBytes);
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinPingIntervalMs);
    if (options_.max_connection_age.count() > 0) {
      builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, Milliseconds(options_.max_connection_age));
      builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, Milliseconds(kConnectionAgeGrace));
    }
    // Compressed messages come to us as they are, and are refused with a sentence.
    builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
  }

  const GrpcTransportOptions options_;
  RawService kl_divergence_;
  RawService health_;
  grpc::AsyncGenericService generic_;
  std::vector<std::unique_ptr<Queue>> queues_;
};

}  // namespace

std::unique_ptr<GrpcTransport> GrpcTransport::Create(const GrpcTransportOptions& options,
                                                     grpc::ServerBuilder& builder) {
  if (!FramesAreLimited()) {
    Log(LogLevel::kWarning,
        "headers in several frames, resets of calls, and calls of clients that acknowledge no settings have "
        "no "
        "limit with this gRPC");
  }
  return std::make_unique<GrpcTransportImpl>(options, builder);
}

}  // namespace kldiv::server
