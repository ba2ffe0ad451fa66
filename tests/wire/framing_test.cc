// Which bytes are a message, and what the decoder sees in them. Each expectation is also put to the generated
// parser.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "proto/wire/decode.h"
#include "tests/wire/reference.h"
#include "tests/wire/wire_bytes.h"

namespace kldiv::wire::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Decodes, and requires that the generated parser agrees in every respect. The answer's views end here.
absl::StatusOr<PairRequest> Decode(const std::string& bytes) {
  const SlicedMessage message(bytes);
  auto got = DecodeEvaluateRequest(message.slices());
  EXPECT_EQ(Difference(got, ExpectEvaluateRequest(bytes)), "");
  const SlicedMessage single_bytes(bytes, Sizes(1, bytes.size()));
  EXPECT_EQ(Difference(DecodeEvaluateRequest(single_bytes.slices()), ExpectEvaluateRequest(bytes)), "");
  return got;
}

void ExpectValid(const std::string& bytes) {
  const auto got = Decode(bytes);
  ASSERT_EQ(got.status(), absl::OkStatus());
  EXPECT_EQ(got->status, absl::OkStatus());
}

void ExpectUndecodable(const std::string& bytes, const char* reason) {
  const auto got = Decode(bytes);
  ASSERT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(got.status().message()),
              AllOf(HasSubstr("EvaluateRequest cannot be decoded at byte "), HasSubstr(reason)));
}

// An FP32 tensor of one element, whose shape is left out.
std::string Scalar(std::string_view data) { return VarintField(1, 3) + BytesField(3, data); }

TEST(Framing, AMessageIsReadInWhateverSlicesItComes) {
  const std::string bytes = VarintField(1, 300) + GoodRequest() + VarintField(101, 1);
  for (size_t size = 0; size < 30; ++size) {
    std::vector<size_t> sizes = {size, 0, 0};
    for (size_t i = 0; i < bytes.size(); ++i) sizes.push_back(size);
    const SlicedMessage message(bytes, sizes);
    const auto got = DecodeEvaluateRequest(message.slices());
    EXPECT_EQ(Difference(got, ExpectEvaluateRequest(bytes)), "");
    ASSERT_TRUE(got.ok());
    EXPECT_TRUE(got->status.ok() && got->want_timing);
    EXPECT_EQ(got->request_id, 300u);
  }
}

TEST(Framing, TensorBytesStayWhereTheyAre) {
  const SlicedMessage message(GoodRequest());
  const auto got = DecodeEvaluateRequest(message.slices());
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->pair.input.first, message.slices().data());
  EXPECT_EQ(BytesOf(got->pair.input), std::string(24, 'x'));
  EXPECT_EQ(BytesOf(got->pair.target), std::string(24, 't'));
}

TEST(Framing, NoSlicesAreTheEmptyMessage) {
  const auto got = DecodeEvaluateRequest({});
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->status.message(), "input is missing, expected a Tensor");
}

TEST(Framing, FieldsComeInAnyOrder) {
  const auto got = Decode(VarintField(101, 1) + BytesField(3, Scalar("tttt")) + VarintField(4, 4) +
                          BytesField(2, Scalar("xxxx")) + VarintField(1, 7));
  ASSERT_TRUE(got.ok() && got->status.ok());
  EXPECT_EQ(got->request_id, 7u);
  EXPECT_EQ(got->reduction, Reduction::kSum);
}

TEST(Framing, TheLastOfRepeatedScalarsCounts) {
  const auto got =
      Decode(VarintField(1, 1) + VarintField(4, 1) + GoodRequest() + VarintField(4, 3) + VarintField(1, 2));
  ASSERT_TRUE(got.ok() && got->status.ok());
  EXPECT_EQ(got->request_id, 2u);
  EXPECT_EQ(got->reduction, Reduction::kBatchMean);
}

TEST(Framing, TensorsInPartsAreMerged) {
  const auto got =
      Decode(BytesField(2, VarintField(1, 1) + VarintField(2, 2) + BytesField(3, "old")) + GoodRequest() +
             BytesField(3, VarintField(2, 1)) + BytesField(2, VarintField(1, 4)) +
             BytesField(3, VarintField(1, 2) + BytesField(2, "") + BytesField(3, "1234")) +
             BytesField(2, BytesField(3, "")));
  // input: dtype 4, shape [2, 2, 3], no bytes; target: dtype 2, shape [2, 3, 1], 4 bytes.
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->status.message(), "input.data has 0 bytes, expected 96: shape [2, 2, 3] of FP64");
}

TEST(Framing, ShapesArePackedOrNotOrBoth) {
  const auto got =
      Decode(BytesField(2, Tensor(3, {2, 3}, std::string(24, 'x'))) +
             BytesField(3, VarintField(2, 2) + BytesField(2, "") + VarintField(1, 3) +
                               BytesField(2, Varint(3, 3)) + BytesField(3, std::string(24, 't'))));
  ASSERT_TRUE(got.ok() && got->status.ok());
  EXPECT_THAT(got->shape, ElementsAre(2, 3));
}

TEST(Framing, OverlongNumbersAreTakenUpToTenBytes) {
  for (size_t bytes = 1; bytes <= 10; ++bytes) {
    ExpectValid(GoodRequest() + Tag(1, kVarint) + Varint(5, bytes) + Tag(101, kVarint) + Varint(1, bytes));
  }
  ExpectUndecodable(GoodRequest() + Tag(1, kVarint) + Varint(5, 11), "a number has over 10 bytes");
}

TEST(Framing, BitsOfANumberAbove64AreDropped) {
  const auto got = Decode(GoodRequest() + Tag(1, kVarint) + std::string(9, '\xff') + '\x7f');
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->request_id, std::numeric_limits<uint64_t>::max());
}

TEST(Framing, BitsOfAnEnumAbove32AreDropped) {
  const auto got = Decode(GoodRequest() + VarintField(4, (uint64_t{9} << 32) + 4));
  ASSERT_TRUE(got.ok() && got->status.ok());
  EXPECT_EQ(got->reduction, Reduction::kSum);
}

TEST(Framing, TagsAreTakenUpToFiveBytesAndBitsAbove32AreDropped) {
  for (size_t bytes = 1; bytes <= 5; ++bytes) ExpectValid(GoodRequest() + Varint(8, bytes) + Varint(5));
  ExpectValid(GoodRequest() + "\xa8\x86\x80\x80\x70\x01");  // want_timing, and bits 32 to 34
  ExpectUndecodable(GoodRequest() + Varint(8, 6) + Varint(5), "a tag has over 5 bytes");
}

TEST(Framing, LengthsAreTakenUpToFiveBytes) {
  for (size_t bytes = 1; bytes <= 5; ++bytes) {
    ExpectValid(GoodRequest() + Tag(200, kBytes) + Varint(3, bytes) + "abc");
  }
  ExpectUndecodable(GoodRequest() + Tag(200, kBytes) + Varint(3, 6) + "abc", "a length is over 2 GiB");
}

TEST(Framing, LengthsThatLieAreRefused) {
  ExpectUndecodable(GoodRequest() + Tag(200, kBytes) + Varint(4) + "abc", "a length reaches past the end");
  ExpectUndecodable(GoodRequest() + Tag(200, kBytes) + Varint(0x7fffffef), "a length reaches past the end");
  ExpectUndecodable(GoodRequest() + Tag(200, kBytes) + Varint(0x7ffffff0), "a length is over 2 GiB");
  ExpectUndecodable(GoodRequest() + Tag(200, kBytes) + Varint(uint64_t{1} << 63), "a length is over 2 GiB");
  // A tensor whose bytes reach into what comes after it, although the message goes on.
  ExpectUndecodable(
      BytesField(2, Tag(3, kBytes) + Varint(6) + "abc") + VarintField(1, 300) + VarintField(1, 300),
      "a length reaches past the end");
  // A packed shape whose last number does.
  ExpectUndecodable(BytesField(2, Tag(2, kBytes) + Varint(1) + "\x82\x01") + VarintField(1, 300),
                    "within a number");
  // A tensor whose last number, or tag, does.
  ExpectUndecodable(Tag(2, kBytes) + Varint(2) + Tag(1, kVarint) + Varint(3, 2) + VarintField(1, 300),
                    "within a number");
  ExpectUndecodable(Tag(2, kBytes) + Varint(1) + Varint(8, 2) + VarintField(1, 300), "within a number");
}

TEST(Framing, EveryTruncationIsJudgedAsTheGeneratedParserDoes) {
  const std::string bytes = GoodRequest() + VarintField(100, 1'000'000) + Group(150, VarintField(3, 1)) +
                            Fixed32Field(151, 1) + Fixed64Field(152, 1);
  for (size_t size = 0; size <= bytes.size(); ++size) Decode(bytes.substr(0, size)).IgnoreError();
}

TEST(Framing, FieldNumberZeroIsRefused) {
  for (int wire_type = 0; wire_type < 6; ++wire_type) {
    const auto got = Decode(GoodRequest() + Tag(0, wire_type) + std::string(8, '\0'));
    EXPECT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument) << wire_type;
  }
  ExpectUndecodable(GoodRequest() + Varint(uint64_t{1} << 32) + "\x01", "field number 0");
  ExpectUndecodable(GoodRequest() + Group(100, VarintField(0, 1)), "field number 0");
  ExpectUndecodable(GoodRequest() + Group(100, Group(0, "")), "field number 0");
}

TEST(Framing, WireTypesSixAndSevenAreRefused) {
  ExpectUndecodable(GoodRequest() + Tag(100, 6), "wire type 6 or 7");
  ExpectUndecodable(GoodRequest() + Tag(1, 7), "wire type 6 or 7");
  ExpectUndecodable(GoodRequest() + Group(100, Tag(1, 6)), "wire type 6 or 7");
}

TEST(Framing, BalancedGroupsArePassedOver) {
  ExpectValid(GoodRequest() + Group(100, ""));
  ExpectValid(GoodRequest() + Group(536870911, VarintField(1, 1) + Group(2, BytesField(3, "\x0c")) +
                                                   Fixed32Field(4, 0) + Fixed64Field(5, 0) + Group(100, "")));
}

TEST(Framing, UnbalancedGroupsAreRefused) {
  ExpectUndecodable(GoodRequest() + Tag(100, kStartGroup), "a group is not closed");
  ExpectUndecodable(GoodRequest() + Tag(100, kEndGroup), "the end of a group that was not begun");
  ExpectUndecodable(GoodRequest() + Tag(100, kStartGroup) + Tag(101, kEndGroup), "the end of another group");
  ExpectUndecodable(GoodRequest() + Tag(100, kStartGroup) + Group(101, "") + Tag(101, kEndGroup),
                    "the end of another group");
  // Begun inside a tensor and ended outside.
  ExpectUndecodable(BytesField(2, Tag(100, kStartGroup)) + Tag(100, kEndGroup), "a group is not closed");
  ExpectUndecodable(GoodRequest() + Group(100, Tag(7, kBytes) + Varint(5)), "a length reaches past the end");
}

std::string Nested(int levels) {
  std::string bytes;
  for (int i = 0; i < levels; ++i) bytes = Group(100, bytes);
  return bytes;
}

TEST(Framing, MessagesAndGroupsNestAHundredDeep) {
  ExpectValid(GoodRequest() + Nested(100));
  ExpectUndecodable(GoodRequest() + Nested(101), "nest over 100 deep");
  ExpectValid(GoodRequest() + BytesField(2, Nested(99)) + Nested(100));
  ExpectUndecodable(GoodRequest() + BytesField(2, Nested(100)), "nest over 100 deep");
  ExpectUndecodable(std::string(1'000'000, '\x0b'), "nest over 100 deep");
}

TEST(Framing, DimensionsWithoutEndCostNoMemory) {
  // One slice shown many times: 2^27 dimensions in 1 MiB.
  constexpr size_t kSliceBytes = size_t{1} << 20;
  constexpr size_t kSlices = 128;
  const std::string ones(kSliceBytes, '\1');
  const std::string shape_header = Tag(2, kBytes) + Varint(kSliceBytes * kSlices);
  const std::string header =
      Tag(2, kBytes) + Varint(shape_header.size() + kSliceBytes * kSlices) + shape_header;
  const std::string rest = BytesField(2, VarintField(1, 3));
  const auto slice = [](const std::string& bytes) {
    return Slice(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  };
  std::vector<Slice> slices(kSlices, slice(ones));
  slices.insert(slices.begin(), slice(header));
  slices.push_back(slice(rest));
  const auto got = DecodeEvaluateRequest(slices);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->status.message(), "input.shape has 134217728 dimensions, expected at most 64");
}

TEST(Framing, AMessageOverTwoGibibytesIsRefused) {
  const std::string header = Tag(200, kBytes) + Varint(1'000'000'000);
  const std::vector<uint8_t> zeros(size_t{1} << 24);
  const std::vector<Slice> slices(129, Slice(zeros));
  const auto got = DecodeEvaluateRequest(slices);
  EXPECT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(got.status().message()),
              HasSubstr("has 2164260864 bytes, expected at most 2147483647"));
}

TEST(Framing, AnErrorNamesThePlaceAlsoInSlices) {
  const std::string bytes = GoodRequest() + VarintField(1, 3) + Tag(100, 6);
  const SlicedMessage message(bytes, Sizes(7, bytes.size()));
  EXPECT_EQ(
      DecodeEvaluateRequest(message.slices()).status().message(),
      "EvaluateRequest cannot be decoded at byte " + std::to_string(bytes.size()) + ": wire type 6 or 7");
}

TEST(Framing, GetServerInfoTakesAnyFieldsThatCanBeDecoded) {
  for (const std::string& bytes : {std::string(), VarintField(9, 1), Group(1, ""), GoodRequest()}) {
    EXPECT_EQ(DecodeGetServerInfoRequest(SlicedMessage(bytes).slices()), absl::OkStatus());
    EXPECT_TRUE(ExpectGetServerInfoRequest(bytes));
  }
  for (const std::string& bytes :
       {std::string(1, '\0'), Tag(1, kEndGroup), Tag(1, kBytes) + Varint(1), Nested(101)}) {
    EXPECT_EQ(DecodeGetServerInfoRequest(SlicedMessage(bytes).slices()).code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_FALSE(ExpectGetServerInfoRequest(bytes));
  }
}

}  // namespace
}  // namespace kldiv::wire::testing
