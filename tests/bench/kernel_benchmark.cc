// Rates of the CPU kernel, as items (elements) a second; kernel.py runs it beside its peers. An answer is
// compared with the scalar reference's before it is timed; a wrong one ends the program with exit code 1.
// Benchmarks are named DTYPE[.log|.none|.2threads]/ELEMENTS, or INPUT+TARGET/ELEMENTS where the dtypes
// differ.
//
// KLDIV_INSTRUCTION_SET chooses one, as SupportedInstructionSets names them. KLDIV_BENCH_VERIFIED=1: this
// build's answers have been compared before.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/lanes/cpu_kernel.h"
#include "server/numerics/float_control.h"
#include "server/numerics/scalar.h"
#include "tests/numerics/dtype_name.h"

namespace kldiv::cpu_kernel {
namespace {

using numerics::DType;
using numerics::DTypeName;
using numerics::ElementSize;
using numerics::Formula;
using numerics::TileCount;

enum class Answer { kSum, kPointwise };

struct Subject {
  std::string name;
  Formula formula;
  Answer answer = Answer::kSum;
  int threads = 1;
};

// Random probabilities or their logarithms: a million of them, again and again.
std::vector<uint8_t> MakeTensor(DType dtype, int64_t elements, bool logarithms) {
  const auto size = static_cast<size_t>(ElementSize(dtype));
  std::vector<uint8_t> bytes;
  // Distance to what an evaluation writes: the last vector's masked load would wait for a store right behind
  // it.
  bytes.reserve(static_cast<size_t>(elements) * size + 64);
  bytes.resize(static_cast<size_t>(elements) * size);
  const size_t different = std::min(bytes.size(), (size_t{1} << 20) * size);
  uint64_t state = logarithms ? 1 : 2;
  for (size_t at = 0; at < different; at += size) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const double unit = static_cast<double>((state >> 11) + 1) * 0x1p-53;
    const uint64_t bits = numerics::scalar::Round(dtype, logarithms ? std::log(unit) : unit);
    std::memcpy(&bytes[at], &bits, size);
  }
  for (size_t at = different; at < bytes.size(); at += different) {
    std::memcpy(&bytes[at], bytes.data(), std::min(different, bytes.size() - at));
  }
  return bytes;
}

class Pair {
 public:
  Pair(const Formula& formula, int64_t elements)
      : formula_(formula),
        elements_(elements),
        input_(MakeTensor(formula.input, elements, true)),
        target_(MakeTensor(formula.target, elements, formula.log_target)),
        sums_(static_cast<size_t>(TileCount(elements))),
        losses_(static_cast<size_t>(elements * ElementSize(formula.output()))) {}

  double Sum(int threads) {
    // Cut where the lanes cut: at tile boundaries, each piece delivering its tile sums.
    const int64_t tiles = (TileCount(elements_) + threads - 1) / threads;
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i) {
      others.emplace_back([this, i, tiles] {
        numerics::ResetFloatControl();
        SumTiles(i * tiles, tiles);
      });
    }
    SumTiles(0, tiles);
    for (std::thread& other : others) other.join();
    return Fold(sums_.data(), static_cast<int64_t>(sums_.size()));
  }

  void Losses() { Pointwise(formula_, input_.data(), target_.data(), elements_, losses_.data()); }

  // Whether the answer is the scalar reference's, to the bit.
  bool Verify(const Subject& subject) {
    if (subject.answer == Answer::kPointwise) {
      std::vector<uint8_t> expected(losses_.size());
      numerics::scalar::Pointwise(formula_, input_.data(), target_.data(), elements_, expected.data());
      Losses();
      return losses_ == expected;
    }
    std::vector<double> expected(sums_.size());
    numerics::scalar::TileSums(formula_, input_.data(), target_.data(), elements_, expected.data());
    const double sum = numerics::scalar::Fold(expected.data(), static_cast<int64_t>(expected.size()));
    return std::bit_cast<uint64_t>(Sum(subject.threads)) == std::bit_cast<uint64_t>(sum);
  }

 private:
  void SumTiles(int64_t first_tile, int64_t tiles) {
    const int64_t first = first_tile * numerics::kTileElements;
    const int64_t count = std::min(tiles * numerics::kTileElements, elements_ - first);
    if (count <= 0) return;
    TileSums(formula_, input_.data() + first * ElementSize(formula_.input),
             target_.data() + first * ElementSize(formula_.target), count,
             &sums_[static_cast<size_t>(first_tile)]);
  }

  Formula formula_;
  int64_t elements_;
  std::vector<uint8_t> input_, target_;
  std::vector<double> sums_;
  std::vector<uint8_t> losses_;
};

// ---- Benchmarks

void Run(benchmark::State& state, const Subject& subject, int64_t elements) {
  numerics::ResetFloatControl();
  Pair pair(subject.formula, elements);
  if (std::getenv("KLDIV_BENCH_VERIFIED") == nullptr && !pair.Verify(subject)) {
    std::fprintf(stderr, "%s/%ld: wrong answer, not timed\n", subject.name.c_str(), elements);
    std::exit(1);
  }
  for (auto iteration : state) {
    if (subject.answer == Answer::kPointwise) {
      pair.Losses();
    } else {
      benchmark::DoNotOptimize(pair.Sum(subject.threads));
    }
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * elements);
}

std::vector<Subject> Subjects() {
  std::vector<Subject> subjects;
  for (const DType dtype : {DType::kFp32, DType::kFp16, DType::kBf16, DType::kFp64}) {
    const std::string name = DTypeName(dtype);
    subjects.push_back({name, {.input = dtype, .target = dtype}});
    subjects.push_back({name + ".log", {.input = dtype, .target = dtype, .log_target = true}});
    subjects.push_back({name + ".none", {.input = dtype, .target = dtype}, Answer::kPointwise});
  }
  for (const DType input : {DType::kFp16, DType::kFp32, DType::kFp64}) {
    for (const DType target : {DType::kBf16, DType::kFp32, DType::kFp64}) {
      if (input == target) continue;
      subjects.push_back(
          {std::string(DTypeName(input)) + "+" + DTypeName(target), {.input = input, .target = target}});
    }
  }
  subjects.push_back({"fp32.2threads", {}, Answer::kSum, 2});
  return subjects;
}

}  // namespace
}  // namespace kldiv::cpu_kernel

int main(int argc, char** argv) {
  using namespace kldiv::cpu_kernel;
  if (const char* set = std::getenv("KLDIV_INSTRUCTION_SET")) UseInstructionSet(set);
  benchmark::AddCustomContext("instruction_set", InstructionSet());
  for (const Subject& subject : Subjects()) {
    for (const int64_t elements : {10, 1'000, 32'000, 1'000'000, 16'000'000}) {
      if (subject.threads > 1 && elements < 1'000'000) continue;
      const std::string name = subject.name + "/" + std::to_string(elements);
      benchmark::RegisterBenchmark(name.c_str(), [subject, elements](benchmark::State& state) {
        Run(state, subject, elements);
      })->UseRealTime();
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
