#include "proto/wire/slices.h"

#include <gtest/gtest.h>

#include "tests/wire/wire_bytes.h"

namespace kldiv::wire::testing {
namespace {

// "abcdefghij" as "", "abc", "", "", "d", "efghij", "".
class ByteCursorTest : public ::testing::Test {
 protected:
  const std::vector<size_t> sizes_ = {0, 3, 0, 0, 1, 6, 0};
  const SlicedMessage message_{"abcdefghij", sizes_};
};

std::string Text(Slice slice) { return {slice.begin(), slice.end()}; }

TEST_F(ByteCursorTest, CopiesAnyRunFromAnywhere) {
  const std::string all = "abcdefghij";
  const ByteView view{message_.slices().data(), 0, all.size()};
  for (size_t begin = 0; begin <= all.size(); ++begin) {
    for (size_t size = 0; size <= all.size() - begin; ++size) {
      ByteCursor cursor(view, begin);
      EXPECT_EQ(cursor.left(), all.size() - begin);
      std::string copy(size, '?');
      cursor.Copy(size, copy.data());
      EXPECT_EQ(copy, all.substr(begin, size));
      EXPECT_EQ(cursor.left(), all.size() - begin - size);
    }
  }
}

TEST_F(ByteCursorTest, ShowsWhatLiesTogether) {
  ByteCursor cursor(ByteView{message_.slices().data(), 0, 9}, 1);
  EXPECT_EQ(Text(cursor.Contiguous()), "bc");
  cursor.Skip(1);
  EXPECT_EQ(Text(cursor.Contiguous()), "c");
  cursor.Skip(1);
  EXPECT_EQ(Text(cursor.Contiguous()), "d");
  cursor.Skip(1);
  EXPECT_EQ(Text(cursor.Contiguous()), "efghi");  // not j, which is outside the view
  cursor.Skip(5);
  EXPECT_TRUE(cursor.Contiguous().empty());
}

TEST_F(ByteCursorTest, BeginsWithinASlice) {
  ByteCursor cursor(ByteView{&message_.slices()[5], 2, 3});
  EXPECT_EQ(Text(cursor.Contiguous()), "ghi");
}

TEST_F(ByteCursorTest, AnEmptyViewNeedsNoSlices) {
  ByteCursor cursor((ByteView()));
  EXPECT_EQ(cursor.left(), 0u);
  EXPECT_TRUE(cursor.Contiguous().empty());
  cursor.Copy(0, nullptr);
}

}  // namespace
}  // namespace kldiv::wire::testing
