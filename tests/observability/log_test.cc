#include "server/observability/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

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

}  // namespace
}  // namespace kldiv::server
