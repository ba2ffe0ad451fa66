// EvaluateBatchRequest: which fault belongs to a pair, and which to the message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/wire/decode.h"
#include "tests/wire/reference.h"
#include "tests/wire/wire_bytes.h"

namespace kldiv::wire::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

absl::StatusOr<std::vector<PairRequest>> Decode(const std::string& bytes, int64_t max_pairs = 100) {
  const SlicedMessage message(bytes, Sizes(11, bytes.size()));
  auto got = DecodeEvaluateBatchRequest(message.slices(), max_pairs);
  EXPECT_EQ(Difference(got, ExpectEvaluateBatchRequest(bytes, max_pairs)), "");
  return got;
}

std::string FaultOf(const std::string& bytes, int64_t max_pairs = 100) {
  const auto got = Decode(bytes, max_pairs);
  EXPECT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(got.status().message());
}

std::string Numbered(uint64_t id, const std::string& more = "") {
  return BytesField(1, VarintField(1, id) + GoodRequest() + more);
}

TEST(Batch, PairsComeInTheirOrder) {
  const auto got = Decode(Numbered(5) + Numbered(6) + Numbered(7));
  ASSERT_TRUE(got.ok());
  ASSERT_THAT(*got, SizeIs(3));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ((*got)[i].request_id, 5 + i);
    EXPECT_EQ((*got)[i].status, absl::OkStatus());
  }
}

TEST(Batch, NoPairsAreNoFault) {
  const auto got = Decode("");
  ASSERT_TRUE(got.ok());
  EXPECT_THAT(*got, SizeIs(0));
}

TEST(Batch, PairsAreNotMerged) {
  const auto got = Decode(Numbered(5) + BytesField(1, ""));
  ASSERT_TRUE(got.ok());
  ASSERT_THAT(*got, SizeIs(2));
  EXPECT_EQ((*got)[1].status.message(), "input is missing, expected a Tensor");
}

TEST(Batch, AFaultOfAPairIsItsOwn) {
  for (const std::string& fault :
       {VarintField(9, 1), VarintField(5, 2), VarintField(4, 77), VarintField(100, ~0ull),
        BytesField(2, VarintField(2, 7)), BytesField(3, VarintField(77, 1))}) {
    const auto got = Decode(Numbered(5) + Numbered(6, fault) + Numbered(7));
    ASSERT_TRUE(got.ok());
    ASSERT_THAT(*got, SizeIs(3));
    EXPECT_EQ((*got)[0].status, absl::OkStatus());
    EXPECT_EQ((*got)[1].status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ((*got)[1].request_id, 6u);
    EXPECT_EQ((*got)[2].status, absl::OkStatus());
  }
}

TEST(Batch, UndecodableBytesAnywhereFailTheMessage) {
  EXPECT_THAT(FaultOf(Numbered(5) + Numbered(6, Tag(3, kEndGroup))),
              StartsWith("EvaluateBatchRequest cannot be decoded"));
  EXPECT_THAT(FaultOf(Numbered(5) + Numbered(6) + std::string(1, '\0')), HasSubstr("field number 0"));
  EXPECT_THAT(FaultOf(Numbered(5) + Numbered(6).substr(0, 50)), HasSubstr("a length reaches past the end"));
}

TEST(Batch, UndecodableBytesComeBeforeFaultsOfPairsAndUnknownFields) {
  EXPECT_THAT(FaultOf(VarintField(9, 1) + Numbered(5, VarintField(9, 1)) + std::string(1, '\0')),
              HasSubstr("field number 0"));
}

TEST(Batch, AnUnknownFieldOfTheMessageItselfFailsIt) {
  EXPECT_EQ(FaultOf(Numbered(5) + VarintField(2, 1)), "field 2 is not known to this server (" KLDIV_VERSION
                                                      "): EvaluateBatchRequest has it, with wire type 0");
  EXPECT_EQ(FaultOf(VarintField(1, 1) + Numbered(5)), "field 1 is not known to this server (" KLDIV_VERSION
                                                      "): EvaluateBatchRequest has it, with wire type 0");
  EXPECT_TRUE(Decode(Numbered(5) + VarintField(100, 1) + Group(101, VarintField(2, 1))).ok());
}

TEST(Batch, MorePairsThanAllowedFailTheMessage) {
  const std::string three = Numbered(5) + Numbered(6) + Numbered(7);
  EXPECT_TRUE(Decode(three, 3).ok());
  EXPECT_EQ(FaultOf(three, 2), "requests has over 2 pairs, expected at most 2");
  EXPECT_EQ(FaultOf(BytesField(1, ""), 0), "requests has over 0 pairs, expected at most 0");
}

TEST(Batch, NestingIsCountedFromTheMessageOn) {
  std::string deep;
  for (int i = 0; i < 98; ++i) deep = Group(100, deep);
  EXPECT_TRUE(Decode(Numbered(5, BytesField(2, deep))).ok());
  EXPECT_TRUE(Decode(Numbered(5, Group(100, deep))).ok());
  EXPECT_THAT(FaultOf(Numbered(5, BytesField(2, Group(100, deep)))), HasSubstr("nest over 100 deep"));
  EXPECT_THAT(FaultOf(Numbered(5, Group(100, Group(100, deep)))), HasSubstr("nest over 100 deep"));
  EXPECT_TRUE(Decode(Numbered(5) + Group(100, Group(100, deep))).ok());
}

TEST(Batch, ViewsHoldWhenManyPairsFollow) {
  std::string bytes = Numbered(0);
  for (uint64_t i = 1; i < 1000; ++i)
    bytes += BytesField(1, i % 2 == 0 ? "" : VarintField(1, i) + GoodRequest());
  const SlicedMessage message(bytes, Sizes(50, bytes.size()));
  const auto got = DecodeEvaluateBatchRequest(message.slices(), 1000);
  EXPECT_EQ(Difference(got, ExpectEvaluateBatchRequest(bytes, 1000)), "");
}

}  // namespace
}  // namespace kldiv::wire::testing
