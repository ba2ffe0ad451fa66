#include "server/security/reloaded.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/testing/temporary_folder.h"

namespace kldiv::server {
namespace {

using ::testing::HasSubstr;

// The value of two files is their contents; "broken" in one of them cannot be used.
using Pair = Reloaded<std::string>;

class ReloadedTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Pair>> Load() {
    const std::vector<FlagFile> files = {{"first", folder_ / "a"}, {"second", folder_ / "b"}};
    return Pair::Load("pairs", files,
                      [files](std::vector<std::string> contents) -> absl::StatusOr<std::string> {
                        const std::string text = contents[0] + contents[1];
                        if (text.find("broken") != std::string::npos) return files[0].Error("is broken");
                        return text;
                      });
  }

  testing::TemporaryFolder folder_;
};

// Two looks, as a settled change needs them.
std::string ValueAfterChange(Pair& pair) {
  pair.Check();
  pair.Check();
  return *pair.value().Get();
}

TEST_F(ReloadedTest, HasTheFilesValueFromTheStart) {
  folder_.Write("a", "1");
  folder_.Write("b", "2");
  const auto pair = Load();
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_EQ(*(*pair)->value().Get(), "12");
}

TEST_F(ReloadedTest, DoesNotStartWithoutAFileOrWithABrokenOne) {
  folder_.Write("a", "1");
  absl::Status status = Load().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "--second=" + folder_ / "b" + ": No such file or directory");
  folder_.Write("b", "broken");
  status = Load().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "--first=" + folder_ / "a" + ": is broken");
}

TEST_F(ReloadedTest, RefusesWhatIsNoFileOrTooLarge) {
  folder_.Write("a", "1");
  std::filesystem::create_directory(folder_ / "b");
  EXPECT_THAT(std::string(Load().status().message()), HasSubstr("is not a regular file"));
  std::filesystem::remove(folder_ / "b");
  ASSERT_EQ(mkfifo((folder_ / "b").c_str(), 0600), 0);
  EXPECT_THAT(std::string(Load().status().message()), HasSubstr("is not a regular file"));
  std::filesystem::remove(folder_ / "b");
  folder_.Write("b", std::string(FlagFile::kMaxBytes, 'x'));
  EXPECT_TRUE(Load().ok());
  folder_.Write("b", std::string(FlagFile::kMaxBytes + 1, 'x'));
  EXPECT_THAT(std::string(Load().status().message()), HasSubstr("larger than 1 MiB"));
}

TEST_F(ReloadedTest, FollowsItsFiles) {
  folder_.Write("a", "1");
  folder_.Write("b", "2");
  const std::unique_ptr<Pair> pair = *Load();
  folder_.Write("a", "3");
  EXPECT_EQ(ValueAfterChange(*pair), "32");
  folder_.Replace("b", "4");
  EXPECT_EQ(ValueAfterChange(*pair), "34");
}

TEST_F(ReloadedTest, FollowsASymbolicLinkThatIsSetElsewhere) {
  folder_.Write("a", "1");
  folder_.Write("old", "2");
  folder_.Write("new", "3");
  std::filesystem::create_symlink(folder_ / "old", folder_ / "b");
  const std::unique_ptr<Pair> pair = *Load();
  std::filesystem::create_symlink(folder_ / "new", folder_ / "link");
  std::filesystem::rename(folder_ / "link", folder_ / "b");
  EXPECT_EQ(ValueAfterChange(*pair), "13");
}

// Each file is a link through "..data", which names the folder of one version of them all.
TEST_F(ReloadedTest, FollowsASecretAsKubernetesMountsAndReplacesIt) {
  const std::filesystem::path root = folder_ / "";
  const auto write_version = [&](const std::string& name, const std::string& a, const std::string& b) {
    std::filesystem::create_directory(root / name);
    folder_.Write(name + "/a", a);
    folder_.Write(name + "/b", b);
  };
  write_version("..version1", "1", "2");
  std::filesystem::create_directory_symlink("..version1", root / "..data");
  for (const char* name : {"a", "b"}) {
    std::filesystem::create_symlink(std::filesystem::path("..data") / name, root / name);
  }
  const std::unique_ptr<Pair> pair = *Load();

  write_version("..version2", "3", "4");
  EXPECT_EQ(ValueAfterChange(*pair), "12");
  std::filesystem::create_directory_symlink("..version2", root / "..data_tmp");
  std::filesystem::rename(root / "..data_tmp", root / "..data");
  std::filesystem::remove_all(root / "..version1");
  EXPECT_EQ(ValueAfterChange(*pair), "34");
}

TEST_F(ReloadedTest, TakesNothingThatIsBeingWritten) {
  folder_.Write("a", "1");
  folder_.Write("b", "2");
  const std::unique_ptr<Pair> pair = *Load();
  for (const char* text : {"w", "wh", "who", "whole"}) {
    folder_.Write("b", text);
    pair->Check();
    EXPECT_EQ(*pair->value().Get(), "12");
  }
  pair->Check();
  EXPECT_EQ(*pair->value().Get(), "1whole");
}

TEST_F(ReloadedTest, KeepsTheLastGoodValueUntilTheFilesAreGoodAgain) {
  folder_.Write("a", "1");
  folder_.Write("b", "2");
  const std::unique_ptr<Pair> pair = *Load();
  folder_.Write("b", "broken");
  EXPECT_EQ(ValueAfterChange(*pair), "12");
  folder_.Remove("b");
  EXPECT_EQ(ValueAfterChange(*pair), "12");
  folder_.Write("b", "3");
  EXPECT_EQ(ValueAfterChange(*pair), "13");
}

TEST_F(ReloadedTest, LogsEachReasonOnce) {
  folder_.Write("a", "1");
  folder_.Write("b", "2");
  const std::unique_ptr<Pair> pair = *Load();
  folder_.Write("b", "broken");
  ::testing::internal::CaptureStderr();
  for (int i = 0; i < 5; ++i) pair->Check();
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("pairs have changed and cannot be used"));
  EXPECT_EQ(log.find('\n'), log.size() - 1) << log;
}

TEST_F(ReloadedTest, KeepsAValueForWhoUsesItWhileItIsReplaced) {
  folder_.Write("a", "1");
  folder_.Write("b", "2");
  const std::unique_ptr<Pair> pair = *Load();
  const std::shared_ptr<const std::string> before = pair->value().Get();
  std::thread user([&] {
    while (*pair->value().Get() == "12") std::this_thread::yield();
  });
  folder_.Write("b", "3");
  EXPECT_EQ(ValueAfterChange(*pair), "13");
  user.join();
  EXPECT_EQ(*before, "12");
}

}  // namespace
}  // namespace kldiv::server
