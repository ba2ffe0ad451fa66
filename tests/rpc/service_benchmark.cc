// What the service itself costs a small call: Evaluate of one FP32 pair on the polling thread, from the
// headers to OnDone, behind a transport that does nothing. Beside it what the pair's decoding and computing
// cost alone.
//
// Run it with --benchmark_enable_random_interleaving and --benchmark_repetitions=9, and read the medians.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/wire/decode.h"
#include "proto/wire/encode.h"
#include "server/batching/admission.h"
#include "server/batching/batcher.h"
#include "server/lanes/evaluate.h"
#include "server/numerics/float_control.h"
#include "server/rpc/service.h"

namespace kldiv::server {
namespace {

// A call whose operations do nothing but note that they were asked for.
class NullCall final : public Call {
 public:
  Method method() const override { return Method::kEvaluate; }
  std::string_view path() const override { return PathOf(Method::kEvaluate); }
  std::string peer() const override { return "ipv4:127.0.0.1:50000"; }
  std::string certificate_name() const override { return {}; }
  std::string_view header(std::string_view) const override { return {}; }
  std::chrono::steady_clock::time_point deadline() const override { return deadline_; }
  std::chrono::steady_clock::time_point started_at() const override {
    return deadline_ - std::chrono::seconds(30);
  }
  void SetRequestId(uint64_t) override {}
  void Read() override {}
  void Write(Answer) override {}
  void Finish(Answer answer) override { answer_ = std::move(answer); }
  void Finish(const absl::Status& status, std::chrono::milliseconds) override {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    std::abort();
  }
  void NotifyOnCancel() override {}
  void Abort(const absl::Status&) override {}

 private:
  const std::chrono::steady_clock::time_point deadline_ =
      std::chrono::steady_clock::now() + std::chrono::hours(1);
  Answer answer_;
};

// The bytes of a request, as one slice.
std::vector<uint8_t> RequestBytes(int64_t elements) {
  const std::vector<float> input(static_cast<size_t>(elements), -2.5F);
  const std::vector<float> target(static_cast<size_t>(elements), 0.25F);
  wire::Request request;
  request.input.shape = request.target.shape = {&elements, 1};
  request.input.data = {reinterpret_cast<const uint8_t*>(input.data()), input.size() * sizeof(float)};
  request.target.data = {reinterpret_cast<const uint8_t*>(target.data()), target.size() * sizeof(float)};
  const wire::Parts parts = wire::EncodeEvaluateRequest(request);
  std::vector<uint8_t> bytes;
  size_t at = 0;
  for (const wire::Parts::Reference& reference : parts.references) {
    bytes.insert(bytes.end(), parts.owned.begin() + static_cast<ptrdiff_t>(at),
                 parts.owned.begin() + static_cast<ptrdiff_t>(reference.after));
    at = reference.after;
    bytes.insert(bytes.end(), reference.bytes.begin(), reference.bytes.end());
  }
  bytes.insert(bytes.end(), parts.owned.begin() + static_cast<ptrdiff_t>(at), parts.owned.end());
  return bytes;
}

void BM_Service(benchmark::State& state) {
  Admission admission(int64_t{256} << 20);
  Batcher batcher;
  ServiceOptions options;
  options.read_grants = 64;
  const auto service = EvaluationService::Create(options, admission, batcher);
  const std::vector<uint8_t> bytes = RequestBytes(state.range(0));
  const wire::Slice slice(bytes);
  for (auto _ : state) {
    NullCall call;
    const std::unique_ptr<CallHandler> handler = service->OnCall(call);
    handler->OnMessage(Message({&slice, 1}, bytes.size(), nullptr));
    handler->OnDone();
  }
  batcher.Close();
}

void BM_DecodeAndCompute(benchmark::State& state) {
  numerics::ResetFloatControl();
  const std::vector<uint8_t> bytes = RequestBytes(state.range(0));
  const wire::Slice slice(bytes);
  for (auto _ : state) {
    const auto request = wire::DecodeEvaluateRequest({&slice, 1});
    benchmark::DoNotOptimize(EvaluateSum(request->pair));
  }
}

void BM_Compute(benchmark::State& state) {
  numerics::ResetFloatControl();
  const std::vector<uint8_t> bytes = RequestBytes(state.range(0));
  const wire::Slice slice(bytes);
  const auto request = wire::DecodeEvaluateRequest({&slice, 1});
  for (auto _ : state) benchmark::DoNotOptimize(EvaluateSum(request->pair));
}

BENCHMARK(BM_Service)->Arg(10)->Arg(1000);
BENCHMARK(BM_DecodeAndCompute)->Arg(10)->Arg(1000);
BENCHMARK(BM_Compute)->Arg(10)->Arg(1000);

}  // namespace
}  // namespace kldiv::server

BENCHMARK_MAIN();
