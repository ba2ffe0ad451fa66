#include "server/lanes/cpu_count.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"

namespace kldiv::server {
namespace {

using namespace cpu_count;  // NOLINT(google-build-using-namespace): what is tested

TEST(CpuCount, IsAtLeastOneAndAtMostWhatTheMachineHas) {
  EXPECT_GE(AvailableCpus(), 1);
  EXPECT_LE(AvailableCpus(), static_cast<int>(std::thread::hardware_concurrency()));
}

TEST(CpuCount, ReadsCpuMax) {
  EXPECT_EQ(QuotaFromCpuMax("150000 100000\n"), 1.5);
  EXPECT_EQ(QuotaFromCpuMax("max 100000\n"), 0);
}

TEST(CpuCount, TakesNoQuotaFromWhatItDoesNotUnderstand) {
  for (const char* text : {"", "\n", "max", "150000", "150000 0\n", "-1 100000\n", "0 100000", "a b", "1 2 3",
                           "99999999999999999999 100000"}) {
    EXPECT_EQ(QuotaFromCpuMax(text), 0) << text;
  }
}

TEST(CpuCount, ReadsCfsQuotas) {
  EXPECT_EQ(QuotaFromCfs("250000\n", "100000\n"), 2.5);
  EXPECT_EQ(QuotaFromCfs("-1\n", "100000\n"), 0);
  EXPECT_EQ(QuotaFromCfs("", ""), 0);
  EXPECT_EQ(QuotaFromCfs("100000\n", "0\n"), 0);
}

TEST(CpuCount, FindsTheProcessInItsHierarchies) {
  constexpr char kV2[] = "0::/kubepods/pod1:2/server\n";
  EXPECT_EQ(V2Path(kV2), "/kubepods/pod1:2/server");
  EXPECT_EQ(V1CpuPath(kV2), "");
  constexpr char kV1[] = "12:cpuset:/a\n4:cpu,cpuacct:/docker/77\n1:name=systemd:/b\n0::/c\n";
  EXPECT_EQ(V1CpuPath(kV1), "/docker/77");
  EXPECT_EQ(V2Path(kV1), "/c");
  EXPECT_EQ(V2Path("nonsense"), "");
}

TEST(CpuCount, RoundsAQuotaUpAndNeverBelowOne) {
  EXPECT_EQ(Combine(8, 0), 8);
  EXPECT_EQ(Combine(8, 1.5), 2);
  EXPECT_EQ(Combine(8, 0.1), 1);
  EXPECT_EQ(Combine(2, 100), 2);
  EXPECT_EQ(Combine(2, 1e300), 2);
  EXPECT_EQ(Combine(0, 0), 1);
}

// A made-up /sys/fs/cgroup.
class CpuCountFiles : public ::testing::Test {
 protected:
  CpuCountFiles() {
    root_ = ::testing::TempDir() + "cpu_count_test_" +
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(root_);
  }
  ~CpuCountFiles() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  std::string root_;
};

TEST_F(CpuCountFiles, TakesTheTightestQuotaOnTheWayToTheRoot) {
  Write("/cpu.max", "max 100000\n");
  Write("/pod/cpu.max", "200000 100000\n");
  Write("/pod/server/cpu.max", "400000 100000\n");
  Write("/other/cpu.max", "100000 100000\n");
  EXPECT_EQ(QuotaUnder(root_, "0::/pod/server\n"), 2);
}

TEST_F(CpuCountFiles, SeesAContainersOwnQuotaAtTheRoot) {
  Write("/cpu.max", "300000 100000\n");
  EXPECT_EQ(QuotaUnder(root_, "0::/\n"), 3);
  EXPECT_EQ(QuotaUnder(root_, "0::/../../host/path\n"), 3);
  EXPECT_EQ(QuotaUnder(root_, ""), 3);
}

TEST_F(CpuCountFiles, ReadsTheFirstVersionsFiles) {
  Write("/cpu,cpuacct/docker/7/cpu.cfs_quota_us", "150000\n");
  Write("/cpu,cpuacct/docker/7/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(QuotaUnder(root_, "4:cpu,cpuacct:/docker/7\n"), 1.5);
}

TEST_F(CpuCountFiles, FindsNoQuotaWhereThereIsNone) { EXPECT_EQ(QuotaUnder(root_, "0::/pod\n"), 0); }

}  // namespace
}  // namespace kldiv::server
