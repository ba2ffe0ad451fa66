// The rules for a request that can be decoded, and what the answer says when it breaks one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "proto/wire/decode.h"
#include "tests/wire/reference.h"
#include "tests/wire/wire_bytes.h"

namespace kldiv::wire::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

// The answer, after it was compared with the reference in all respects: its views end here.
PairRequest Decode(const std::string& bytes) {
  const SlicedMessage message(bytes);
  auto got = DecodeEvaluateRequest(message.slices());
  EXPECT_EQ(Difference(got, ExpectEvaluateRequest(bytes)), "");
  EXPECT_EQ(got.status(), absl::OkStatus());
  return got.ok() ? *std::move(got) : PairRequest();
}

// The text of the fault that the pair has.
std::string FaultOf(const std::string& bytes) {
  const PairRequest pair = Decode(bytes);
  EXPECT_EQ(pair.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_LE(pair.status.message().size(), 250u);
  return std::string(pair.status.message());
}

std::string Pair(const std::string& input, const std::string& target) {
  return BytesField(2, input) + BytesField(3, target);
}

// Two of the same tensor, without bytes.
std::string Twice(const std::vector<int64_t>& shape) {
  return Pair(Tensor(3, shape, ""), Tensor(3, shape, ""));
}

TEST(Validation, AGoodPairHasItsViewsAndItsOptions) {
  const PairRequest got =
      Decode(VarintField(1, 42) +
             Pair(Tensor(1, {2, 3}, std::string(12, 'x')), Tensor(4, {2, 3}, std::string(48, 't'))) +
             VarintField(4, 3) + VarintField(5, 1) + VarintField(6, 1) + VarintField(100, 5000) +
             VarintField(101, 1));
  ASSERT_EQ(got.status, absl::OkStatus());
  EXPECT_EQ(got.request_id, 42u);
  EXPECT_EQ(got.pair.formula, (numerics::Formula{.input = numerics::DType::kFp16,
                                                 .target = numerics::DType::kFp64,
                                                 .log_target = true,
                                                 .skip_zero_target = true}));
  EXPECT_EQ(got.pair.elements, 6);
  EXPECT_THAT(got.shape, ElementsAre(2, 3));
  EXPECT_EQ(got.reduction, Reduction::kBatchMean);
  EXPECT_EQ(got.timeout_ns, 5000);
  EXPECT_TRUE(got.want_timing);
}

TEST(Validation, WithoutOptionsThereIsTheMeanAndNothingElse) {
  const PairRequest got = Decode(GoodRequest());
  ASSERT_EQ(got.status, absl::OkStatus());
  EXPECT_EQ(got.request_id, 0u);
  EXPECT_EQ(got.reduction, Reduction::kMean);
  EXPECT_FALSE(got.pair.formula.log_target || got.pair.formula.skip_zero_target || got.want_timing);
  EXPECT_EQ(got.timeout_ns, 0);
}

TEST(Validation, EachReductionIsTaken) {
  EXPECT_EQ(Decode(GoodRequest() + VarintField(4, 0)).reduction, Reduction::kMean);
  EXPECT_EQ(Decode(GoodRequest() + VarintField(4, 1)).reduction, Reduction::kNone);
  EXPECT_EQ(Decode(GoodRequest() + VarintField(4, 2)).reduction, Reduction::kMean);
  EXPECT_EQ(Decode(GoodRequest() + VarintField(4, 3)).reduction, Reduction::kBatchMean);
  EXPECT_EQ(Decode(GoodRequest() + VarintField(4, 4)).reduction, Reduction::kSum);
}

// -1: not set.
Reduction Legacy(int size_average, int reduce) {
  std::string bytes = GoodRequest() + VarintField(4, 3);
  if (size_average >= 0) bytes += VarintField(7, static_cast<uint64_t>(size_average));
  if (reduce >= 0) bytes += VarintField(8, static_cast<uint64_t>(reduce));
  return Decode(bytes).reduction;
}

TEST(Validation, LegacyArgumentsOverrideTheReductionAndAMissingOneCountsAsTrue) {
  EXPECT_EQ(Legacy(-1, -1), Reduction::kBatchMean);
  EXPECT_EQ(Legacy(1, -1), Reduction::kMean);
  EXPECT_EQ(Legacy(0, -1), Reduction::kSum);
  EXPECT_EQ(Legacy(-1, 1), Reduction::kMean);
  EXPECT_EQ(Legacy(-1, 0), Reduction::kNone);
  EXPECT_EQ(Legacy(1, 1), Reduction::kMean);
  EXPECT_EQ(Legacy(0, 1), Reduction::kSum);
  EXPECT_EQ(Legacy(1, 0), Reduction::kNone);
  EXPECT_EQ(Legacy(0, 0), Reduction::kNone);
}

TEST(Validation, LegacyArgumentsDoNotExcuseAReductionThatIsNotListed) {
  EXPECT_EQ(FaultOf(GoodRequest() + VarintField(4, 5) + VarintField(8, 1)),
            "reduction is 5, expected a value of kldiv.v1.Reduction: 0 to 4");
}

TEST(Validation, AMissingTensorIsNamed) {
  const std::string tensor = Tensor(3, {1}, "1234");
  EXPECT_EQ(FaultOf(BytesField(3, tensor)), "input is missing, expected a Tensor");
  EXPECT_EQ(FaultOf(BytesField(2, tensor)), "target is missing, expected a Tensor");
  EXPECT_EQ(FaultOf(""), "input is missing, expected a Tensor");
}

TEST(Validation, ATensorWithoutFieldsIsNotMissing) {
  EXPECT_THAT(FaultOf(Pair("", Tensor(3, {1}, "1234"))),
              ::testing::StartsWith("input.dtype is 0 (unspecified)"));
  EXPECT_THAT(FaultOf(Pair(Tensor(3, {1}, "1234"), "")),
              ::testing::StartsWith("target.dtype is 0 (unspecified)"));
}

TEST(Validation, AFaultKeepsTheRequestId) {
  const PairRequest got = Decode(VarintField(1, 77));
  EXPECT_EQ(got.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(got.request_id, 77u);
}

TEST(Validation, ADtypeThatIsUnspecifiedOrUnknownIsNamed) {
  const std::string good = Tensor(3, {1}, "1234");
  EXPECT_EQ(FaultOf(Pair(BytesField(3, "1234"), good)),
            "input.dtype is 0 (unspecified), expected 1 (FP16), 2 (BF16), 3 (FP32) or 4 (FP64)");
  EXPECT_EQ(FaultOf(Pair(good, Tensor(5, {1}, "1234"))),
            "target.dtype is 5, expected 1 (FP16), 2 (BF16), 3 (FP32) or 4 (FP64)");
  EXPECT_EQ(FaultOf(Pair(good, Tensor(-1, {1}, "1234"))),
            "target.dtype is -1, expected 1 (FP16), 2 (BF16), 3 (FP32) or 4 (FP64)");
}

TEST(Validation, AnEnumThatIsNotListedIsNamed) {
  EXPECT_EQ(FaultOf(GoodRequest() + VarintField(4, 5)),
            "reduction is 5, expected a value of kldiv.v1.Reduction: 0 to 4");
  EXPECT_EQ(FaultOf(GoodRequest() + VarintField(4, uint64_t{0} - 1)),
            "reduction is -1, expected a value of kldiv.v1.Reduction: 0 to 4");
  EXPECT_EQ(FaultOf(GoodRequest() + VarintField(6, 2)),
            "zero_target is 2, expected a value of kldiv.v1.ZeroTarget: 0 or 1");
}

TEST(Validation, ABoolIsZeroOrOneInAll64Bits) {
  EXPECT_EQ(FaultOf(GoodRequest() + VarintField(5, 2)), "log_target is the varint 2, expected 0 or 1");
  EXPECT_EQ(FaultOf(GoodRequest() + VarintField(7, uint64_t{0} - 1)),
            "size_average is the varint 18446744073709551615, expected 0 or 1");
  EXPECT_EQ(FaultOf(GoodRequest() + VarintField(8, (uint64_t{1} << 32) + 1)),
            "reduce is the varint 4294967297, expected 0 or 1");
  EXPECT_EQ(FaultOf(GoodRequest() + VarintField(101, 2)), "want_timing is the varint 2, expected 0 or 1");
}

TEST(Validation, OnlyTheLastValueOfAnEnumOrBoolCounts) {
  EXPECT_EQ(Decode(GoodRequest() + VarintField(4, 99) + VarintField(4, 4)).status, absl::OkStatus());
  EXPECT_EQ(Decode(GoodRequest() + VarintField(5, 99) + VarintField(5, 1)).status, absl::OkStatus());
  EXPECT_EQ(Decode(GoodRequest() + VarintField(8, 99) + VarintField(8, 1)).status, absl::OkStatus());
  EXPECT_EQ(Decode(BytesField(2, VarintField(1, 99)) + GoodRequest()).status, absl::OkStatus());
  EXPECT_EQ(FaultOf(GoodRequest() + VarintField(4, 4) + VarintField(4, 99)),
            "reduction is 99, expected a value of kldiv.v1.Reduction: 0 to 4");
  EXPECT_EQ(FaultOf(GoodRequest() + VarintField(5, 1) + VarintField(5, 99)),
            "log_target is the varint 99, expected 0 or 1");
}

TEST(Validation, AnUnknownFieldBelow100IsRefusedAndItsMessageNamed) {
  EXPECT_EQ(FaultOf(GoodRequest() + VarintField(9, 1)), "field 9 is not known to this server (" KLDIV_VERSION
                                                        "): EvaluateRequest has it, with wire type 0");
  EXPECT_EQ(FaultOf(GoodRequest() + Group(99, "")), "field 99 is not known to this server (" KLDIV_VERSION
                                                    "): EvaluateRequest has it, with wire type 3");
  EXPECT_EQ(FaultOf(GoodRequest() + BytesField(2, BytesField(4, ""))),
            "field 4 is not known to this server (" KLDIV_VERSION "): Tensor input has it, with wire type 2");
  EXPECT_EQ(FaultOf(GoodRequest() + BytesField(3, Fixed64Field(5, 0))),
            "field 5 is not known to this server (" KLDIV_VERSION
            "): Tensor target has it, with wire type 1");
}

TEST(Validation, TheFirstUnknownFieldIsNamedAndALaterValueDoesNotMendIt) {
  EXPECT_THAT(FaultOf(VarintField(98, 1) + VarintField(9, 1) + GoodRequest()),
              ::testing::StartsWith("field 98 is"));
}

TEST(Validation, UnknownFieldsFrom100OnAreIgnored) {
  EXPECT_EQ(Decode(GoodRequest() + VarintField(102, 1) + BytesField(2, Fixed32Field(100, 1)) +
                   Group(1000, VarintField(9, 1)) + BytesField(3, BytesField(536870911, "later")))
                .status,
            absl::OkStatus());
}

TEST(Validation, AKnownFieldWithAnotherWireTypeIsAnUnknownField) {
  EXPECT_EQ(FaultOf(GoodRequest() + BytesField(5, "\1")),
            "field 5 is not known to this server (" KLDIV_VERSION
            "): EvaluateRequest has it, with wire type 2");
  EXPECT_EQ(FaultOf(GoodRequest() + VarintField(2, 1)), "field 2 is not known to this server (" KLDIV_VERSION
                                                        "): EvaluateRequest has it, with wire type 0");
  EXPECT_EQ(FaultOf(GoodRequest() + BytesField(2, Fixed64Field(2, 1))),
            "field 2 is not known to this server (" KLDIV_VERSION "): Tensor input has it, with wire type 1");
  const PairRequest got = Decode(GoodRequest() + BytesField(100, "\1") + Fixed32Field(101, 1));
  EXPECT_EQ(got.status, absl::OkStatus());
  EXPECT_EQ(got.timeout_ns, 0);
  EXPECT_FALSE(got.want_timing);
}

TEST(Validation, ANegativeTimeoutIsNamed) {
  EXPECT_EQ(FaultOf(GoodRequest() + VarintField(100, uint64_t{0} - 5)),
            "timeout_ns is -5, expected 0 (none) or more");
}

TEST(Validation, ANegativeDimensionIsNamed) {
  EXPECT_EQ(FaultOf(Twice({2, -3})), "input.shape[1] is -3, expected 0 or more");
  EXPECT_EQ(FaultOf(Twice({0, -1})), "input.shape[1] is -1, expected 0 or more");
  EXPECT_EQ(FaultOf(Pair(Tensor(3, {0}, ""), Tensor(3, {std::numeric_limits<int64_t>::min()}, ""))),
            "target.shape[0] is -9223372036854775808, expected 0 or more");
}

TEST(Validation, SixtyFourDimensionsAreTakenAndOneMoreIsNot) {
  const std::string tensor = Tensor(3, std::vector<int64_t>(64, 1), "1234");
  const PairRequest got = Decode(Pair(tensor, tensor));
  ASSERT_EQ(got.status, absl::OkStatus());
  EXPECT_THAT(got.shape, SizeIs(64));
  EXPECT_EQ(got.pair.elements, 1);
  const std::string larger = Tensor(3, std::vector<int64_t>(65, 1), "1234");
  EXPECT_EQ(FaultOf(Pair(larger, larger)), "input.shape has 65 dimensions, expected at most 64");
  EXPECT_EQ(FaultOf(Pair(tensor, larger)), "target.shape has 65 dimensions, expected at most 64");
}

TEST(Validation, AScalarHasNoDimensionsAndOneElement) {
  const PairRequest got = Decode(Pair(Tensor(4, {}, "12345678"), Tensor(2, {}, "12")));
  ASSERT_EQ(got.status, absl::OkStatus());
  EXPECT_THAT(got.shape, IsEmpty());
  EXPECT_EQ(got.pair.elements, 1);
}

TEST(Validation, AZeroDimensionMakesTheTensorEmptyWhateverTheOthersAre) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{0}, {3, 0}, {0, kHuge, kHuge}, {kHuge, kHuge, 0}, {kHuge, 0, kHuge}}) {
    const PairRequest got = Decode(Twice(shape));
    ASSERT_EQ(got.status, absl::OkStatus());
    EXPECT_EQ(got.pair.elements, 0);
    EXPECT_EQ(got.pair.input.size, 0u);
  }
  EXPECT_EQ(Decode(Pair(VarintField(1, 3) + VarintField(2, 0), Tensor(3, {0}, ""))).status, absl::OkStatus());
  EXPECT_EQ(
      FaultOf(Pair(Tensor(3, {kHuge, 0, kHuge}, "1234"), Tensor(3, {0}, ""))),
      "input.data has 4 bytes, expected 0: shape [9223372036854775807, 0, 9223372036854775807] of FP32");
}

TEST(Validation, AProductThatOverflowsIsNamed) {
  EXPECT_EQ(FaultOf(Twice({int64_t{1} << 32, int64_t{1} << 31})),
            "input.shape is [4294967296, 2147483648]: the product of the dimensions overflows, expected less "
            "than 2^63 "
            "bytes");
  // The elements can be counted, their bytes cannot: 2^61 of FP32.
  EXPECT_EQ(FaultOf(Twice({int64_t{1} << 61})),
            "input.shape is [2305843009213693952]: the product of the dimensions overflows, expected less "
            "than 2^63 "
            "bytes");
  EXPECT_EQ(FaultOf(Twice({(int64_t{1} << 61) - 1})),
            "input.data has 0 bytes, expected 9223372036854775804: shape [2305843009213693951] of FP32");
  // A product that overflows more than once, back to something small.
  EXPECT_EQ(FaultOf(Twice({int64_t{1} << 32, int64_t{1} << 32, 1})),
            "input.shape is [4294967296, 4294967296, 1]: the product of the dimensions overflows, expected "
            "less than "
            "2^63 bytes");
}

TEST(Validation, ALengthThatDoesNotFitTheShapeIsNamedWithBothFigures) {
  const std::string good = Tensor(3, {2, 3}, std::string(24, 'x'));
  EXPECT_EQ(FaultOf(Pair(Tensor(3, {2, 3}, std::string(23, 'x')), good)),
            "input.data has 23 bytes, expected 24: shape [2, 3] of FP32");
  EXPECT_EQ(FaultOf(Pair(good, Tensor(4, {2, 3}, std::string(24, 'x')))),
            "target.data has 24 bytes, expected 48: shape [2, 3] of FP64");
  EXPECT_EQ(FaultOf(Pair(good, VarintField(1, 1))), "target.data has 0 bytes, expected 2: shape [] of FP16");
}

TEST(Validation, ShapesThatDifferAreBothPrinted) {
  const std::string data(24, 'x');
  EXPECT_EQ(FaultOf(Pair(Tensor(3, {2, 3}, data), Tensor(3, {3, 2}, data))),
            "target.shape is [3, 2], expected input.shape, [2, 3]: they differ from dimension 0 on");
  EXPECT_EQ(FaultOf(Pair(Tensor(3, {2, 3}, data), Tensor(3, {2, 3, 1}, data))),
            "target.shape is [2, 3, 1], expected input.shape, [2, 3]: they differ from dimension 2 on");
}

TEST(Validation, LongShapesAreShortened) {
  std::vector<int64_t> x(60, 1);
  std::vector<int64_t> t = x;
  x[58] = 2;
  t[59] = 2;
  EXPECT_EQ(FaultOf(Pair(Tensor(1, x, "1234"), Tensor(1, t, "1234"))),
            "target.shape is [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ...], "
            "expected input.shape, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
            "...]: they "
            "differ from dimension 58 on");
}

TEST(Validation, AnUnknownFieldIsNamedBeforeAnyOtherFault) {
  EXPECT_THAT(FaultOf(VarintField(4, 9) + BytesField(3, VarintField(9, 1))),
              ::testing::StartsWith("field 9 is not"));
}

TEST(Validation, OptionsAreNamedBeforeTensors) {
  EXPECT_THAT(FaultOf(VarintField(4, 9)), ::testing::StartsWith("reduction is 9"));
}

}  // namespace
}  // namespace kldiv::wire::testing
