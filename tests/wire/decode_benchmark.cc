// What decoding and encoding cost on the thread that polls the transport: there every microsecond is paid by
// all calls.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "kldiv/v1/kldiv.pb.h"
#include "proto/wire/decode.h"
#include "proto/wire/encode.h"
#include "tests/wire/wire_bytes.h"

namespace kldiv::wire::testing {
namespace {

std::string RequestOf(int64_t rows, int64_t columns) {
  const std::string data(static_cast<size_t>(rows * columns) * 4, 'x');
  return VarintField(1, 12345) + BytesField(2, Tensor(3, {rows, columns}, data)) +
         BytesField(3, Tensor(3, {rows, columns}, data)) + VarintField(4, 3);
}

std::string BatchOf(int pairs, int64_t columns) {
  std::string batch;
  for (int i = 0; i < pairs; ++i) batch += BytesField(1, RequestOf(1, columns));
  return batch;
}

// Slices of `size` bytes; 0: one.
SlicedMessage Sliced(const std::string& bytes, size_t size) {
  return size == 0 ? SlicedMessage(bytes) : SlicedMessage(bytes, Sizes(size, bytes.size() / size));
}

// A wrong answer is not worth timing.
void Require(bool right) {
  if (right) return;
  std::fputs("decode_benchmark: a wrong answer\n", stderr);
  std::exit(1);
}

// Elements of each tensor, bytes of a slice.
void DecodeEvaluate(benchmark::State& state) {
  const std::string bytes = RequestOf(1, state.range(0));
  const SlicedMessage message = Sliced(bytes, static_cast<size_t>(state.range(1)));
  const auto decoded = DecodeEvaluateRequest(message.slices());
  Require(decoded.ok() && decoded->status.ok() && decoded->pair.elements == state.range(0));
  for (auto _ : state) {
    auto pair = DecodeEvaluateRequest(message.slices());
    benchmark::DoNotOptimize(pair);
  }
}
BENCHMARK(DecodeEvaluate)
    ->ArgNames({"elements", "slice"})
    ->Args({10, 0})
    ->Args({10, 40})
    ->Args({1000, 0})
    ->Args({1000, 3000})
    ->Args({1000, 1})
    ->Args({1'000'000, 8192});

// The same with the generated classes, which copy the tensors.
void ParseGeneratedEvaluate(benchmark::State& state) {
  const std::string bytes = RequestOf(1, state.range(0));
  for (auto _ : state) {
    v1::EvaluateRequest request;
    Require(request.ParseFromString(bytes));
    benchmark::DoNotOptimize(request);
  }
}
BENCHMARK(ParseGeneratedEvaluate)->ArgName("elements")->Arg(10)->Arg(1000);

// Pairs of 10 elements; bytes of a slice. The time is that of a pair.
void DecodeBatchPair(benchmark::State& state) {
  const auto pairs = static_cast<int>(state.range(0));
  const std::string bytes = BatchOf(pairs, 10);
  const SlicedMessage message = Sliced(bytes, static_cast<size_t>(state.range(1)));
  const auto decoded = DecodeEvaluateBatchRequest(message.slices(), 65536);
  Require(decoded.ok() && decoded->size() == static_cast<size_t>(pairs) && decoded->back().status.ok());
  while (state.KeepRunningBatch(pairs)) {
    auto batch = DecodeEvaluateBatchRequest(message.slices(), 65536);
    benchmark::DoNotOptimize(batch);
  }
}
BENCHMARK(DecodeBatchPair)
    ->ArgNames({"pairs", "slice"})
    ->Args({1, 0})
    ->Args({64, 0})
    ->Args({64, 1000})
    ->Args({4096, 8192});

PairAnswer Loss() {
  PairAnswer answer;
  answer.request_id = 12345;
  answer.element_count = 1000;
  answer.loss = 0.25;
  return answer;
}

void EncodeLoss(benchmark::State& state) {
  const PairAnswer answer = Loss();
  v1::EvaluateResponse response;
  Require(response.ParseFromString(EncodeEvaluateResponse(answer).owned) && response.loss() == 0.25);
  for (auto _ : state) {
    Parts parts = EncodeEvaluateResponse(answer);
    benchmark::DoNotOptimize(parts);
  }
}
BENCHMARK(EncodeLoss);

void EncodeLossResult(benchmark::State& state) {
  const PairAnswer answer = Loss();
  for (auto _ : state) {
    Parts parts = EncodeEvaluateResult(answer);
    benchmark::DoNotOptimize(parts);
  }
}
BENCHMARK(EncodeLossResult);

// The time is that of an answer.
void EncodeBatchAnswer(benchmark::State& state) {
  const std::vector<PairAnswer> answers(static_cast<size_t>(state.range(0)), Loss());
  while (state.KeepRunningBatch(state.range(0))) {
    Parts parts = EncodeEvaluateBatchResponse(answers);
    benchmark::DoNotOptimize(parts);
  }
}
BENCHMARK(EncodeBatchAnswer)->ArgName("answers")->Arg(64);

void EncodePointwise(benchmark::State& state) {
  const std::vector<uint8_t> bytes(4000);
  const std::vector<int64_t> shape{1, 1000};
  PairAnswer answer = Loss();
  answer.none = true;
  answer.shape = shape;
  answer.pointwise = bytes;
  for (auto _ : state) {
    Parts parts = EncodeEvaluateResponse(answer);
    benchmark::DoNotOptimize(parts);
  }
}
BENCHMARK(EncodePointwise);

}  // namespace
}  // namespace kldiv::wire::testing

BENCHMARK_MAIN();
