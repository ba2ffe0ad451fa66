#include "client/lent_memory.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>
#include <vector>

namespace kldiv::internal {
namespace {

const uint8_t kBytes[100] = {};

TEST(LentMemory, IsOutUntilTheLastCopyOfEverySliceIsGone) {
  LentMemory memory;
  EXPECT_TRUE(memory.all_returned());
  std::optional<grpc::Slice> first(memory.Lend(kBytes));
  std::optional<grpc::Slice> second(memory.Lend(kBytes));
  EXPECT_EQ(first->begin(), kBytes);  // Where it lies, not a copy.
  std::optional<grpc::Slice> part(first->sub(10, 90));
  first.reset();
  second.reset();
  EXPECT_FALSE(memory.all_returned());
  part.reset();
  EXPECT_TRUE(memory.all_returned());
}

TEST(LentMemory, WaitsForAnotherThreadToReturnIt) {
  for (int round = 0; round < 1000; ++round) {
    std::optional<std::thread> other;
    {
      LentMemory memory;
      other.emplace([slice = memory.Lend(kBytes)]() mutable { slice = grpc::Slice(); });
      memory.WaitUntilReturned();
      EXPECT_TRUE(memory.all_returned());
    }
    other->join();
  }
}

TEST(LentMemory, TellsOnceThatEverythingHasBeenReturned) {
  LentMemory memory;
  int told = 0;
  std::optional<grpc::Slice> slice(memory.Lend(kBytes));
  memory.OnceReturned([&] { ++told; });
  EXPECT_EQ(told, 0);
  slice.reset();
  EXPECT_EQ(told, 1);
}

TEST(LentMemory, TellsAtOnceWhenNothingIsOut) {
  LentMemory memory;
  int told = 0;
  memory.OnceReturned([&] { ++told; });
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace kldiv::internal
