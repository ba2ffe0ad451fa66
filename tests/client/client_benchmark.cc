// What the library costs beside a client that sends and receives raw buffers, over the server whose address
// is in KLDIV_SERVER (default 127.0.0.1:50051). The clients take turns call by call, so that a noisy machine
// disturbs all of them alike; medians are compared.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/client_unary_call.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
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

// A way to call, and how long each of its calls took.
struct Contender {
  std::string name;
  std::function<bool()> call;
  std::vector<double> microseconds = {};

  double Median() {
    const auto middle = microseconds.begin() + static_cast<std::ptrdiff_t>(microseconds.size() / 2);
    std::nth_element(microseconds.begin(), middle, microseconds.end());
    return *middle;
  }
};

bool Compare(int64_t elements, int rounds, std::vector<Contender> contenders) {
  for (int round = 0; round < rounds; ++round) {
    for (Contender& contender : contenders) {
      const auto start = std::chrono::steady_clock::now();
      if (!contender.call()) {
        std::fprintf(stderr, "%s failed\n", contender.name.c_str());
        return false;
      }
      const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
      if (round >= rounds / 10) contender.microseconds.push_back(took.count());
    }
  }
  const double raw = contenders[0].Median();
  for (Contender& contender : contenders) {
    std::printf("%7lld elements  %-14s %8.1f us, speed %.3f\n", static_cast<long long>(elements),
                contender.name.c_str(), contender.Median(), raw / contender.Median());
  }
  return true;
}

// One after the other: gRPC's and the library's threads for asynchronous calls take part in all calls of a
// process.
bool CompareBlocking(int64_t elements, int rounds) {
  const OwnedPair owned(elements);
  RawClient raw(owned.pair());
  const auto client = *Client::Create({.server = Server()});
  return Compare(elements, rounds,
                 {{"raw blocking", [&] { return raw.Blocking(); }},
                  {"Evaluate", [&] { return client->Evaluate(owned.pair()).ok(); }}});
}

bool CompareOne(int64_t elements, int rounds, const char* name, const std::function<bool()>& call) {
  return Compare(elements, rounds, {{name, call}});
}

bool MeasureAsynchronous(int64_t elements, int rounds) {
  const OwnedPair owned(elements);
  {
    const auto client = *Client::Create({.server = Server()});
    if (!CompareOne(elements, rounds, "EvaluateFuture",
                    [&] { return client->EvaluateFuture(owned.pair()).get().ok(); })) {
      return false;
    }
  }
  RawClient raw(owned.pair());
  return CompareOne(elements, rounds, "raw callback", [&] { return raw.Callback(); });
}

}  // namespace
}  // namespace kldiv

int main() {
  return kldiv::CompareBlocking(1000, 5000) && kldiv::CompareBlocking(100'000, 2000) &&
                 kldiv::MeasureAsynchronous(1000, 5000)
             ? 0
             : 1;
}
