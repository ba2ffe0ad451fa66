// Evaluates a few batches and compares them with the scalar reference: a small program, of which mutants.py
// builds many.
//
//   cuda_mutant_check eager|lazy SEED     CUDA lanes over the executor, several at a time
//   cuda_mutant_check ptx SEED FILE       a lane over the PTX in FILE
//
// Exits with 0 when everything is right; with 1 and one line on standard output when not.

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "server/cuda/cuda_devices.h"
#include "server/cuda/cuda_lane.h"
#include "tests/cuda/pair_set.h"
#include "tests/cuda_host/control.h"
#include "tests/ptx/parser.h"
#include "tests/ptx/ptx_lane.h"

namespace kldiv::cuda::testing {
namespace {

using numerics::DType;
using server::Lane;

// Without destructors: after a mistake operations may be under way.
[[noreturn]] void Fail(const std::string& what) {
  std::printf("%s\n", what.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

// All dtypes and formulas, both kinds of answer, lengths around everything that the kernel counts in.
void AddPairs(std::mt19937_64& random, PairSet& pairs) {
  for (const DType input : kDTypes) {
    for (const DType target : kDTypes) {
      const int choice = static_cast<int>(random() % 4);
      const auto elements = static_cast<int64_t>(1 + random() % 700);
      pairs.AddRandom(random, {input, target, (choice & 1) != 0, (choice & 2) != 0}, elements,
                      random() % 2 == 0, 40);
    }
  }
  for (const int64_t elements : {1, 3, 127, 129, 255, 257, 1023, 1024, 1025, 2300}) {
    pairs.AddRandom(random, {kDTypes[random() % 4], kDTypes[random() % 4]}, elements, random() % 3 == 0, 0);
  }
  pairs.AddRandom(random, {DType::kFp32, DType::kFp32}, 1500, false, 0);
  pairs.AddRandom(random, {DType::kFp16, DType::kFp16, true, false}, 1500, true, 0);
}

// A batch as it comes, then cut at random tiles.
void Evaluate(Lane& lane, std::mt19937_64& random) {
  for (int round = 0; round < 4; ++round) {
    PairSet pairs;
    for (int repetitions = round % 2; repetitions >= 0; --repetitions) AddPairs(random, pairs);
    // One tile more each time, so that the last block is full in one round or another.
    for (int more = 0; more < round; ++more) pairs.AddRandom(random, {}, 60, false, 0);
    const absl::Status status = lane.Run(round % 2 == 0 ? pairs.Pieces() : pairs.CutPieces(random));
    if (!status.ok()) Fail(std::string(status.message()) + " " + cuda_host::LastKernelFault());
    if (const std::string wrong = pairs.Difference(); !wrong.empty()) Fail("wrong: " + wrong);
  }
}

std::unique_ptr<Lane> MakeLane(int64_t batch_bytes) {
  auto lane = MakeCudaLane(std::make_shared<DeviceState>(Device{0, "cuda:0"}), BufferSizesFor(batch_bytes));
  if (!lane.ok()) Fail(lane.status().ToString());
  return *std::move(lane);
}

// The smallest buffers need many rounds for a batch.
void CheckLanes(uint64_t seed) {
  std::vector<std::thread> threads;
  for (const int64_t batch_bytes : {int64_t{1} << 22, int64_t{1}}) {
    threads.emplace_back([seed, batch_bytes] {
      std::mt19937_64 random(seed + static_cast<uint64_t>(batch_bytes));
      const std::unique_ptr<Lane> lane = MakeLane(batch_bytes);
      Evaluate(*lane, random);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void CheckPtx(uint64_t seed, const std::string& path) {
  std::ifstream file(path);
  if (!file.is_open()) Fail("no file " + path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  absl::StatusOr<ptx::Module> module = ptx::Parse(text);
  if (!module.ok()) Fail(module.status().ToString());
  for (const int64_t batch_bytes : {int64_t{1} << 22, int64_t{1}}) {
    std::mt19937_64 random(seed + static_cast<uint64_t>(batch_bytes));
    ptx::PtxLane lane(*module, batch_bytes, seed * 1'000'000);
    Evaluate(lane, random);
  }
}

int Main(int argc, char** argv) {
  const std::string mode = argc > 2 ? argv[1] : "";
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  if (mode == "ptx" && argc == 4) {
    CheckPtx(seed, argv[3]);
  } else if ((mode == "eager" || mode == "lazy") && argc == 3) {
    cuda_host::SetLazy(mode == "lazy");
    cuda_host::SetSeed(seed);
    CheckLanes(seed);
  } else {
    std::fprintf(stderr, "usage: %s eager|lazy SEED, or ptx SEED FILE\n", argv[0]);
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace kldiv::cuda::testing

int main(int argc, char** argv) { return kldiv::cuda::testing::Main(argc, argv); }
