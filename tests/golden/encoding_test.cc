#include "tests/golden/encoding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/golden/formats.h"

namespace kldiv::golden {
namespace {

using numerics::DType;
using ::testing::ElementsAre;

TEST(GoldenEncoding, DecodesBase64OfEveryLength) {
  EXPECT_EQ(Base64Decode(""), "");
  EXPECT_EQ(Base64Decode("Zg=="), "f");
  EXPECT_EQ(Base64Decode("Zm8="), "fo");
  EXPECT_EQ(Base64Decode("Zm9v"), "foo");
  EXPECT_EQ(Base64Decode("+/+/"), "\xfb\xff\xbf");
}

TEST(GoldenEncoding, ChecksumIsZlibs) { EXPECT_EQ(Crc32("123456789"), 0xcbf43926u); }

TEST(GoldenEncoding, GeneratesTheDocumentedExample) {
  const Rule rule = {.seed = 1, .sign = 1, .lowest_exponent = 123, .highest_exponent = 130};
  const std::string bytes = Generate(rule, DType::kFp32, 4);
  std::vector<uint64_t> elements;
  for (int64_t e = 0; e < 4; ++e) elements.push_back(ElementBits(DType::kFp32, bytes, e));
  EXPECT_THAT(elements, ElementsAre(0xbd825cc1u, 0xc08eec67u, 0xbe32555eu, 0xbfc2c90bu));
}

TEST(GoldenFormats, DecodesLandmarksOfEachFormat) {
  EXPECT_EQ(Decode(DType::kFp16, 0x3c00), 1.0);
  EXPECT_EQ(Decode(DType::kFp16, 0x7bff), 65504.0);
  EXPECT_EQ(Decode(DType::kFp16, 0x8001), -0x1p-24);
  EXPECT_EQ(Decode(DType::kBf16, 0xbf80), -1.0);
  EXPECT_EQ(Decode(DType::kBf16, 0x0001), 0x1p-133);
  EXPECT_EQ(Decode(DType::kFp32, 0x00000001), 0x1p-149);
  EXPECT_EQ(Decode(DType::kFp64, 0x0000000000000001), 0x1p-1074);
}

TEST(GoldenFormats, KnowsNaNUlpAndOverflow) {
  EXPECT_EQ(CanonicalNaN(DType::kFp16), 0x7e00u);
  EXPECT_EQ(CanonicalNaN(DType::kBf16), 0x7fc0u);
  EXPECT_EQ(CanonicalNaN(DType::kFp32), 0x7fc00000u);
  EXPECT_EQ(CanonicalNaN(DType::kFp64), 0x7ff8000000000000u);
  EXPECT_EQ(Ulp(DType::kFp16, 1.5), 0x1p-10);
  EXPECT_EQ(Ulp(DType::kFp16, 1e-9), 0x1p-24);
  EXPECT_EQ(Ulp(DType::kFp64, 0.0), 0x1p-1074);
  EXPECT_EQ(OverflowThreshold(DType::kFp16), 65520.0);
}

}  // namespace
}  // namespace kldiv::golden
