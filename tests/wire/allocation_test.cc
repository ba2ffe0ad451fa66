// What the good paths take from the heap, and that no lie makes them take more.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "proto/wire/decode.h"
#include "proto/wire/encode.h"
#include "tests/wire/wire_bytes.h"

namespace {

size_t g_allocations = 0;
size_t g_allocated_bytes = 0;

}  // namespace

// Not inlined: GCC takes the free() for a mismatch of a new expression otherwise.
[[gnu::noinline]] void* operator new(size_t size) {
  ++g_allocations;
  g_allocated_bytes += size;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace kldiv::wire::testing {
namespace {

struct Allocated {
  size_t times;
  size_t bytes;
};

template <typename Action>
Allocated During(Action action) {
  const Allocated before{g_allocations, g_allocated_bytes};
  action();
  return {g_allocations - before.times, g_allocated_bytes - before.bytes};
}

TEST(Allocation, AFaultlessRequestOfUpToFourDimensionsTakesNone) {
  const std::string tensor = Tensor(3, {2, 1, 3, 1}, std::string(24, 'x'));
  const std::string bytes =
      BytesField(2, tensor) + BytesField(3, tensor) + VarintField(1, 300) + VarintField(101, 1);
  for (const size_t size : {0u, 7u, 40u}) {
    const SlicedMessage message(bytes, Sizes(size, 100));
    const Allocated allocated =
        During([&] { EXPECT_TRUE(DecodeEvaluateRequest(message.slices())->status.ok()); });
    EXPECT_EQ(allocated.times, 0u);
  }
}

TEST(Allocation, ABatchOfLikePairsTakesOne) {
  std::string bytes;
  for (int i = 0; i < 64; ++i) bytes += BytesField(1, GoodRequest());
  const SlicedMessage message(bytes);
  const Allocated allocated =
      During([&] { EXPECT_EQ(DecodeEvaluateBatchRequest(message.slices(), 65536)->size(), 64u); });
  EXPECT_EQ(allocated.times, 1u);
  EXPECT_LE(allocated.bytes, 65 * sizeof(PairRequest));
}

TEST(Allocation, AMillionDimensionsTakeNoMoreThanTheErrorsText) {
  const SlicedMessage message(BytesField(2, VarintField(1, 3) + BytesField(2, std::string(1'000'000, '\1'))));
  const Allocated allocated =
      During([&] { EXPECT_FALSE(DecodeEvaluateRequest(message.slices())->status.ok()); });
  EXPECT_LT(allocated.bytes, 2000u);
}

TEST(Allocation, LengthsThatLieTakeNoMoreThanTheErrorsText) {
  const SlicedMessage message(Tag(1, kBytes) + Varint(0x7fffff00) + GoodRequest());
  const Allocated allocated =
      During([&] { EXPECT_FALSE(DecodeEvaluateBatchRequest(message.slices(), 65536).ok()); });
  EXPECT_LT(allocated.bytes, 2000u);
}

TEST(Allocation, ABatchTakesNoMoreThanItsBytesCouldBePairs) {
  const SlicedMessage message(BytesField(1, "") + BytesField(1, BytesField(200, std::string(1000, 'x'))));
  const Allocated allocated =
      During([&] { EXPECT_EQ(DecodeEvaluateBatchRequest(message.slices(), 100)->size(), 2u); });
  EXPECT_LE(allocated.bytes, 100 * sizeof(PairRequest) + 2000);
}

TEST(Allocation, AnAnswerWithALossTakesAtMostOne) {
  PairAnswer answer;
  answer.request_id = ~uint64_t{0};
  answer.element_count = 1'000'000'000;
  answer.loss = 1;
  EXPECT_LE(During([&] { EncodeEvaluateResponse(answer); }).times, 1u);
  EXPECT_LE(During([&] { EncodeEvaluateResult(answer); }).times, 1u);
  const std::vector<PairAnswer> answers(64, answer);
  EXPECT_LE(During([&] { EncodeEvaluateBatchResponse(answers); }).times, 1u);
}

}  // namespace
}  // namespace kldiv::wire::testing
