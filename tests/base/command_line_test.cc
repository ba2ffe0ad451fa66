#include "server/base/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/time/time.h"

ABSL_FLAG(bool, loud, false, "Whether to be loud.");
ABSL_FLAG(bool, notes, false, "A name that begins with no.");
ABSL_FLAG(int32_t, some_count, 3, "How many.");
ABSL_FLAG(std::string, some_text, "plain", "Words.");
ABSL_FLAG(absl::Duration, some_wait, absl::Seconds(1), "How long.");
ABSL_FLAG(kldiv::base::ByteSize, some_size, kldiv::base::ByteSize{64 << 20}, "How large.");

namespace kldiv::base {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Sets a variable of the environment for the life of this object.
class ScopedVariable {
 public:
  ScopedVariable(std::string name, const char* value) : name_(std::move(name)) {
    setenv(name_.c_str(), value, /*overwrite=*/1);
  }
  ~ScopedVariable() { unsetenv(name_.c_str()); }

  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  const std::string name_;
};

class CommandLineTest : public ::testing::Test {
 protected:
  static absl::StatusOr<CommandLine> Parse(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "program");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    return ParseCommandLine(static_cast<int>(argv.size()), argv.data());
  }

  static std::string Refusal(const std::vector<std::string>& arguments) {
    const absl::Status status = Parse(arguments).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  }

 private:
  const absl::FlagSaver saver_;
};

TEST_F(CommandLineTest, TakesValuesBehindAnEqualsSignOrAsTheNextArgument) {
  ASSERT_TRUE(Parse({"--some_count=5", "--some_text", "two words"}).ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_some_count), 5);
  EXPECT_EQ(absl::GetFlag(FLAGS_some_text), "two words");
}

TEST_F(CommandLineTest, TakesHyphensForUnderscoresAndOneHyphenOrTwo) {
  ASSERT_TRUE(Parse({"--some-count=6", "-some_text=x"}).ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_some_count), 6);
  EXPECT_EQ(absl::GetFlag(FLAGS_some_text), "x");
}

TEST_F(CommandLineTest, LeavesHyphensInValuesAlone) {
  ASSERT_TRUE(Parse({"--some-text=a-b=c", "--some-count", "-7"}).ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_some_text), "a-b=c");
  EXPECT_EQ(absl::GetFlag(FLAGS_some_count), -7);
}

TEST_F(CommandLineTest, SwitchesBoolsOnAndOffWithoutTakingTheNextArgument) {
  const auto on = Parse({"--loud", "false"});
  ASSERT_TRUE(on.ok());
  EXPECT_TRUE(absl::GetFlag(FLAGS_loud));
  EXPECT_THAT(on->positional, ElementsAre("false"));
  ASSERT_TRUE(Parse({"--noloud"}).ok());
  EXPECT_FALSE(absl::GetFlag(FLAGS_loud));
  ASSERT_TRUE(Parse({"--loud=true"}).ok());
  EXPECT_TRUE(absl::GetFlag(FLAGS_loud));
}

TEST_F(CommandLineTest, TakesAFlagWhoseNameBeginsWithNoForItself) {
  ASSERT_TRUE(Parse({"--notes"}).ok());
  EXPECT_TRUE(absl::GetFlag(FLAGS_notes));
  ASSERT_TRUE(Parse({"--nonotes"}).ok());
  EXPECT_FALSE(absl::GetFlag(FLAGS_notes));
}

TEST_F(CommandLineTest, LetsTheLastOneWin) {
  ASSERT_TRUE(Parse({"--some_count=1", "--some-count", "2"}).ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_some_count), 2);
}

TEST_F(CommandLineTest, CollectsWhatIsNoFlagInOrder) {
  const auto parsed = Parse({"eval", "--loud", "a.npy", "-", "--", "--loud", "--"});
  ASSERT_TRUE(parsed.ok());
  EXPECT_THAT(parsed->positional, ElementsAre("eval", "a.npy", "-", "--loud", "--"));
}

TEST_F(CommandLineTest, ReportsHelpAndVersion) {
  const auto neither = Parse({});
  ASSERT_TRUE(neither.ok());
  EXPECT_FALSE(neither->help);
  EXPECT_FALSE(neither->version);
  const auto both = Parse({"--help", "-version"});
  ASSERT_TRUE(both.ok());
  EXPECT_TRUE(both->help);
  EXPECT_TRUE(both->version);
}

TEST_F(CommandLineTest, RefusesBadUsageInOneLineThatNamesTheFlag) {
  const std::pair<std::vector<std::string>, std::string> table[] = {
      {{"--colour=red"}, "unknown flag --colour"},
      {{"-h"}, "unknown flag -h"},
      {{"--nosome_count"}, "unknown flag --nosome_count"},
      {{"--noloud=true"}, "--noloud takes no value"},
      {{"--help=yes"}, "--help takes no value"},
      {{"--some_count"}, "--some_count needs a value"},
      {{"--some-count=many"}, "--some-count: \"many\" is not a whole number"},
      {{"--some_count="}, "--some_count: \"\" is not a whole number"},
      {{"--some_count=3000000000"}, "--some_count: \"3000000000\" is not a whole number"},
      {{"--loud=perhaps"}, "--loud: \"perhaps\" is not true or false"},
      {{"--some_wait=5"}, "--some_wait: \"5\" is not a duration with its unit, such as 10ms, 5s or 1m"},
      {{"--some_size=5MB"}, "--some_size: \"5MB\" is not a size such as 64MiB, 512KiB or 1000 (bytes)"},
  };
  for (const auto& [arguments, message] : table) EXPECT_EQ(Refusal(arguments), message);
}

TEST_F(CommandLineTest, ReadsDurationsWithTheirUnits) {
  const std::pair<std::string, absl::Duration> table[] = {{"10ms", absl::Milliseconds(10)},
                                                          {"5s", absl::Seconds(5)},
                                                          {"1m", absl::Minutes(1)},
                                                          {"1m30s", absl::Seconds(90)}};
  for (const auto& [text, wait] : table) {
    ASSERT_TRUE(Parse({"--some_wait=" + text}).ok()) << text;
    EXPECT_EQ(absl::GetFlag(FLAGS_some_wait), wait) << text;
  }
}

TEST_F(CommandLineTest, ReadsSizesWithTheirUnits) {
  const std::pair<std::string, int64_t> table[] = {
      {"0", 0},
      {"1000", 1000},
      {"512KiB", 512 << 10},
      {"64MiB", 64 << 20},
      {"3GiB", int64_t{3} << 30},
      {"9223372036854775807", std::numeric_limits<int64_t>::max()},
  };
  for (const auto& [text, bytes] : table) {
    ASSERT_TRUE(Parse({"--some_size=" + text}).ok()) << text;
    EXPECT_EQ(absl::GetFlag(FLAGS_some_size).bytes, bytes) << text;
  }
}

TEST_F(CommandLineTest, RefusesSizesThatAreNone) {
  for (const char* text : {"", "MiB", "-1", "+1", " 1", "1 MiB", "1.5MiB", "1mib", "1K", "0x10", "1MiBMiB",
                           "9223372036854775808", "8589934592GiB"}) {
    EXPECT_THAT(Refusal({std::string("--some_size=") + text}), HasSubstr("is not a size")) << text;
  }
}

TEST_F(CommandLineTest, WritesSizesInTheLargestUnitThatFits) {
  EXPECT_EQ(AbslUnparseFlag(ByteSize{0}), "0");
  EXPECT_EQ(AbslUnparseFlag(ByteSize{1000}), "1000");
  EXPECT_EQ(AbslUnparseFlag(ByteSize{1536 << 10}), "1536KiB");
  EXPECT_EQ(AbslUnparseFlag(ByteSize{64 << 20}), "64MiB");
  EXPECT_EQ(AbslUnparseFlag(ByteSize{int64_t{2} << 30}), "2GiB");
}

TEST_F(CommandLineTest, TakesTheEnvironmentWhereNoArgumentSaysOtherwise) {
  const ScopedVariable count("KLDIV_SOME_COUNT", "8");
  const ScopedVariable text("KLDIV_SOME_TEXT", "from the environment");
  const ScopedVariable loud("KLDIV_LOUD", "true");
  const auto parsed = Parse({"--some_text=from the arguments", "--noloud"});
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_some_count), 8);
  EXPECT_EQ(absl::GetFlag(FLAGS_some_text), "from the arguments");
  EXPECT_FALSE(absl::GetFlag(FLAGS_loud));
  EXPECT_THAT(parsed->warnings, IsEmpty());
}

TEST_F(CommandLineTest, RefusesABadVariableByItsName) {
  const ScopedVariable count("KLDIV_SOME_COUNT", "many");
  EXPECT_EQ(Refusal({}), "KLDIV_SOME_COUNT: \"many\" is not a whole number");
  EXPECT_TRUE(Parse({"--help"}).ok());
  EXPECT_TRUE(Parse({"--version"}).ok());
}

TEST_F(CommandLineTest, LetsAnArgumentWinOverABadVariable) {
  const ScopedVariable bad("KLDIV_SOME_COUNT", "many");
  EXPECT_TRUE(Parse({"--some_count=5"}).ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_some_count), 5);
  EXPECT_FALSE(Parse({"--loud"}).ok());
}

TEST_F(CommandLineTest, LetsAllProgramsOfTheProjectShareAnEnvironment) {
  const ScopedVariable of_the_server("KLDIV_MAX_MEMORY", "1GiB");
  const ScopedVariable of_the_tool("KLDIV_SERVER", "127.0.0.1:50051");
  const absl::StatusOr<CommandLine> parsed = Parse({});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(parsed->warnings, IsEmpty());
}

TEST_F(CommandLineTest, IgnoresAbseilsOwnVariables) {
  const ScopedVariable count("FLAGS_some_count", "9");
  ASSERT_TRUE(Parse({}).ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_some_count), 3);
}

TEST_F(CommandLineTest, WarnsOfUnknownVariablesButNotOfKubernetesOwn) {
  const ScopedVariable unknown("KLDIV_COLOUR", "red");
  const ScopedVariable lower("KLDIV_some_count", "4");
  const ScopedVariable port("KLDIV_SERVER_PORT_50051_TCP_ADDR", "10.0.0.1");
  const ScopedVariable host("KLDIV_SERVICE_HOST", "10.0.0.1");
  const auto parsed = Parse({});
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_some_count), 3);
  EXPECT_THAT(parsed->warnings,
              ::testing::UnorderedElementsAre(HasSubstr("KLDIV_COLOUR"), HasSubstr("KLDIV_some_count")));
}

TEST_F(CommandLineTest, PrintsFlagsWithDefaultsAndDescriptionsInGroups) {
  const FlagGroup groups[] = {{"Sizes", {"some_size", "some_count"}}};
  const std::string help = HelpText("usage: program\n", groups);
  EXPECT_EQ(
      help.find("usage: program\n\nSizes:\n  --some_size (default: 64MiB)\n      How large.\n  --some_count"),
      0U);
  EXPECT_THAT(help, HasSubstr("\nOther flags:\n  --loud (default: false)\n"));
  EXPECT_THAT(help, HasSubstr("--some_wait (default: 1s)"));
}

TEST_F(CommandLineTest, PrintsAllFlagsByNameWithoutGroups) {
  const std::string help = HelpText("usage: program");
  EXPECT_EQ(help.find("usage: program\n\nFlags:\n  --loud"), 0U);
  EXPECT_LT(help.find("--some_count"), help.find("--some_size"));
}

}  // namespace
}  // namespace kldiv::base
