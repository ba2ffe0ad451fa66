// What the library costs beside a client that sends and receives raw buffers, over a server whose address is
// in KLDIV_SERVER. Compare medians of interleaved repetitions:
//
//     client_benchmark --benchmark_repetitions=11 --benchmark_enable_random_interleaving
//         --benchmark_report_aggregates_only
#include <benchmark/benchmark.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/client_unary_call.h>

#include <cstdlib>
#include <future>
#include <string>
#include <vector>

#include "client/include/kldiv/client.h"
#include "client/messages.h"
#include "proto/wire/encode.h"

namespace kldiv {
namespace {

std::string Server() {
  const char* const server = std::getenv("KLDIV_SERVER");
  return server == nullptr ? "127.0.0.1:50051" : server;
}

struct OwnedPair {
  explicit OwnedPair(int64_t elements) : shape{elements}, input(elements, -0.5F), target(elements, 0.5F) {}
  Pair pair() const { return {.input = {input, shape}, .target = {target, shape}}; }

  std::vector<int64_t> shape;
  std::vector<float> input, target;
};

// A message that was framed before, over gRPC's own calls.
class RawClient {
 public:
  explicit RawClient(const Pair& pair) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel(Server(), grpc::InsecureChannelCredentials(), arguments);
    const wire::Parts parts = internal::EncodePair(pair, 0, 0);
    std::vector<grpc::Slice> slices;
    size_t copied = 0;
    for (const wire::Parts::Reference& reference : parts.references) {
      slices.emplace_back(parts.owned.data() + copied, reference.after - copied);
      slices.emplace_back(reference.bytes.data(), reference.bytes.size(), grpc::Slice::STATIC_SLICE);
      copied = reference.after;
    }
    slices.emplace_back(parts.owned.data() + copied, parts.owned.size() - copied);
    request_ = grpc::ByteBuffer(slices.data(), slices.size());
  }

  bool Blocking() {
    const grpc::internal::RpcMethod method(kMethod, grpc::internal::RpcMethod::NORMAL_RPC, channel_);
    grpc::ClientContext context;
    grpc::ByteBuffer response;
    return grpc::internal::BlockingUnaryCall<grpc::ByteBuffer, grpc::ByteBuffer>(
               channel_.get(), method, &context, request_, &response)
        .ok();
  }

  bool Callback() {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::ByteBuffer response;
    std::promise<bool> done;
    stub.UnaryCall(&context, kMethod, {}, &request_, &response,
                   [&done](const grpc::Status& status) { done.set_value(status.ok()); });
    return done.get_future().get();
  }

 private:
  static constexpr char kMethod[] = "/kldiv.v1.KlDivergence/Evaluate";

  std::shared_ptr<grpc::Channel> channel_;
  grpc::ByteBuffer request_;
};

void RawBlocking(benchmark::State& state) {
  const OwnedPair owned(state.range(0));
  RawClient client(owned.pair());
  for (auto _ : state) {
    if (!client.Blocking()) state.SkipWithError("the call failed");
  }
}

void LibraryBlocking(benchmark::State& state) {
  const OwnedPair owned(state.range(0));
  const auto client = *Client::Create({.server = Server()});
  for (auto _ : state) {
    if (!client->Evaluate(owned.pair()).ok()) state.SkipWithError("the call failed");
  }
}

void RawCallback(benchmark::State& state) {
  const OwnedPair owned(state.range(0));
  RawClient client(owned.pair());
  for (auto _ : state) {
    if (!client.Callback()) state.SkipWithError("the call failed");
  }
}

void LibraryFuture(benchmark::State& state) {
  const OwnedPair owned(state.range(0));
  const auto client = *Client::Create({.server = Server()});
  for (auto _ : state) {
    if (!client->EvaluateFuture(owned.pair()).get().ok()) state.SkipWithError("the call failed");
  }
}

void Encoding(benchmark::State& state) {
  const OwnedPair owned(state.range(0));
  for (auto _ : state) {
    internal::LentMemory memory;
    benchmark::DoNotOptimize(internal::ToByteBuffer(internal::EncodePair(owned.pair(), 0, 0), memory));
  }
}

BENCHMARK(RawBlocking)->Arg(1000)->Arg(100'000)->UseRealTime();
BENCHMARK(LibraryBlocking)->Arg(1000)->Arg(100'000)->UseRealTime();
BENCHMARK(LibraryFuture)->Arg(1000)->UseRealTime();
BENCHMARK(RawCallback)->Arg(1000)->UseRealTime();
BENCHMARK(Encoding)->Arg(1000);

}  // namespace
}  // namespace kldiv

BENCHMARK_MAIN();
