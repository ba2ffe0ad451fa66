#include "server/observability/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "server/net/listening_socket.h"

namespace kldiv::server {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

constexpr char kTime[] = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z";

std::string Logged(const std::function<void()>& body) {
  ::testing::internal::CaptureStderr();
  body();
  return ::testing::internal::GetCapturedStderr();
}

TEST(Log, WritesTextWithFieldsBehindTheMessage) {
  SetLogFormat(LogFormat::kText);
  const std::string line = Logged([] {
    Log(LogLevel::kWarning, "refused", {{"limit", 5}, {"peer", "a \"b\""}});
  });
  EXPECT_THAT(line, MatchesRegex(std::string(kTime) + " warning refused limit=5 peer=\"a \\\\\"b\\\\\"\"\n"));
}

TEST(Log, WritesOneJsonObjectALine) {
  SetLogFormat(LogFormat::kJson);
  const std::string line = Logged([] {
    Log(LogLevel::kError, "a \"bad\"\nday", {{"limit", -5}, {"peer", "p"}});
  });
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  const auto object = nlohmann::json::parse(line);
  EXPECT_THAT(object.at("time").get<std::string>(), MatchesRegex(kTime));
  EXPECT_EQ(object.at("level"), "error");
  EXPECT_EQ(object.at("message"), "a \"bad\"\nday");
  EXPECT_EQ(object.at("limit"), -5);
  EXPECT_EQ(object.at("peer"), "p");
}

TEST(Log, WritesJsonByDefaultWhereStderrIsNoTerminal) {
  EXPECT_THAT(Logged([] {
                SetLogFormat(LogFormat::kAuto);
                Log(LogLevel::kInfo, "ready");
              }),
              HasSubstr("\"level\":\"info\",\"message\":\"ready\"}\n"));
}

TEST(Log, KeepsOneEventOnOneLineOfText) {
  SetLogFormat(LogFormat::kText);
  const std::string line = Logged([] { Log(LogLevel::kInfo, "a\nb\tc", {{"x", "d\ne"}}); });
  EXPECT_THAT(line, HasSubstr("a\\x0ab\\x09c x=\"d\\ne\"\n"));
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
}

TEST(Log, TakesPercentSignsBracesAndBytesThatAreNoUtf8) {
  SetLogFormat(LogFormat::kJson);
  const std::string line = Logged([] { Log(LogLevel::kInfo, "100% {} %v \xff"); });
  EXPECT_EQ(nlohmann::json::parse(line).at("message"), "100% {} %v \xEF\xBF\xBD");
}

TEST(Log, BoundsWhatLibrariesPrint) {
  SetLogFormat(LogFormat::kJson);
  const std::string lines = Logged([] {
    for (int i = 0; i < 1000; ++i) LogFromLibrary("grpc", LogLevel::kError, "again");
  });
  const auto count = std::count(lines.begin(), lines.end(), '\n');
  EXPECT_GE(count, 10);
  EXPECT_LT(count, 1000);
  EXPECT_THAT(lines, HasSubstr("\"message\":\"again\",\"library\":\"grpc\"}"));
}

TEST(LogFormat, IsReadByName) {
  EXPECT_EQ(*ParseLogFormat("auto"), LogFormat::kAuto);
  EXPECT_EQ(*ParseLogFormat("text"), LogFormat::kText);
  EXPECT_EQ(*ParseLogFormat("json"), LogFormat::kJson);
  const absl::Status status = ParseLogFormat("xml").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "\"xml\" is not one of auto, text, json");
}

// Stands in for stderr: a pipe.
class FullPipe {
 public:
  FullPipe() : saved_(dup(STDERR_FILENO)) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
    read_ = FileDescriptor(ends[0]);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
  }
  ~FullPipe() { dup2(saved_.get(), STDERR_FILENO); }

  // Whatever is in it.
  std::string Read() {
    fcntl(read_.get(), F_SETFL, O_NONBLOCK);
    std::string text;
    char buffer[4096];
    for (ssize_t n = 0; (n = read(read_.get(), buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<size_t>(n));
    return text;
  }

 private:
  FileDescriptor saved_;
  FileDescriptor read_;
};

TEST(Log, LosesLinesRatherThanWaitForItsReaderAndSaysHowMany) {
  SetLogFormat(LogFormat::kJson);
  std::string text;
  {
    FullPipe pipe;
    constexpr int kLines = 1000;  // of over 64 bytes: more than a pipe of 64 KiB holds
    for (int i = 0; i < kLines; ++i) Log(LogLevel::kInfo, "x", {{"filling", std::string(200, 'y')}});
    const std::string before = pipe.Read();
    const auto written = std::count(before.begin(), before.end(), '\n');
    ASSERT_LT(written, kLines);
    Log(LogLevel::kInfo, "after");
    text = pipe.Read();
    EXPECT_THAT(text, HasSubstr("\"message\":\"lines were lost: stderr took none\",\"lines\":" +
                                std::to_string(kLines - written) + "}\n"));
    EXPECT_THAT(text, HasSubstr("\"message\":\"after\"}\n"));
  }
}

TEST(Log, CutsTextsSoThatALineFitsAPipe) {
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    SetLogFormat(format);
    for (const char c : {'x', '\n', '"', '\xff'}) {
      const std::string text(100'000, c);
      const std::string line = Logged([&text] {
        Log(LogLevel::kInfo, text,
            {{"a", text}, {"b", text}, {"c", text}, {"d", text}, {"e", text}, {"f", text}});
      });
      EXPECT_LE(line.size(), 4096) << c;
      EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
    }
  }
}

}  // namespace
}  // namespace kldiv::server
