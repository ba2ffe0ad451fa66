#include "server/host.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace kldiv::server {
namespace {

// A tree of control group files.
class MemoryLimitTest : public ::testing::Test {
 protected:
  MemoryLimitTest() {
    std::string name = (std::filesystem::temp_directory_path() / "kldiv-cgroup-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  ~MemoryLimitTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  int64_t Limit(const std::string& proc_self_cgroup) const {
    return MemoryLimitUnder(root_.string(), proc_self_cgroup);
  }

 private:
  std::filesystem::path root_;
};

TEST_F(MemoryLimitTest, IsNoneWithoutFilesOrGroups) {
  EXPECT_EQ(Limit("0::/\n"), 0);
  EXPECT_EQ(Limit(""), 0);
  EXPECT_EQ(Limit("nonsense\n"), 0);
}

TEST_F(MemoryLimitTest, ReadsVersionTwo) {
  Write("a/b/memory.max", "536870912\n");
  EXPECT_EQ(Limit("0::/a/b\n"), 536870912);
}

TEST_F(MemoryLimitTest, ReadsVersionOne) {
  Write("memory/a/memory.limit_in_bytes", "1073741824\n");
  EXPECT_EQ(Limit("5:cpu,cpuacct:/c\n4:hugetlb,memory:/a\n0::/a\n"), 1073741824);
}

TEST_F(MemoryLimitTest, TakesTheTightestOnTheWayToTheRoot) {
  Write("a/b/memory.max", "max\n");
  Write("a/memory.max", "1000\n");
  Write("memory.max", "2000\n");
  EXPECT_EQ(Limit("0::/a/b\n"), 1000);
}

TEST_F(MemoryLimitTest, TakesTheTighterOfBothVersions) {
  Write("a/memory.max", "1000\n");
  Write("memory/a/memory.limit_in_bytes", "500\n");
  EXPECT_EQ(Limit("4:memory:/a\n0::/a\n"), 500);
}

TEST_F(MemoryLimitTest, FindsTheContainersOwnLimitAtTheRootWhenItsGroupCannotBeSeen) {
  Write("memory/memory.limit_in_bytes", "1000\n");
  EXPECT_EQ(Limit("4:memory:/docker/0123456789\n"), 1000);
  Write("memory.max", "900\n");
  EXPECT_EQ(Limit("0::/../../pod/c:1\n"), 900);
}

TEST_F(MemoryLimitTest, IsNoneWhereTheFilesSaySo) {
  Write("memory.max", "max\n");
  Write("memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(Limit("4:memory:/\n0::/\n"), 0);
}

TEST_F(MemoryLimitTest, IgnoresOtherControllersOfVersionOne) {
  Write("memory/a/memory.limit_in_bytes", "1000\n");
  EXPECT_EQ(Limit("4:memory2,cpu:/a\n"), 0);
}

TEST(Host, IsDescribed) {
  const Host host = ThisHost();
  EXPECT_GT(host.memory_bytes, int64_t{64} << 20);
  EXPECT_GE(host.memory_limit_bytes, 0);
  EXPECT_GE(host.cpus, 1);
  EXPECT_GT(host.max_descriptors, 0);
}

}  // namespace
}  // namespace kldiv::server
