// The program kldiv, as its user sees it: alone, and with a real server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "client/npy.h"
#include "tests/client/real_server.h"
#include "tests/server/child_process.h"

namespace kldiv {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const std::string kInput = "tests/data/digits/digits_student_logprobs.npy";
const std::string kTarget = "tests/data/digits/digits_teacher_probs.npy";

using Environment = std::vector<std::pair<std::string, std::string>>;

struct Ended {
  int code;
  std::string output;
  std::string errors;
};

Ended Kldiv(std::vector<std::string> arguments, Environment environment = {}) {
  arguments.insert(arguments.begin(), KLDIV_TOOL);
  server::ChildProcess process(std::move(arguments), std::move(environment));
  std::string output = process.Output();
  std::string errors = process.Errors();
  return {process.Wait(), std::move(output), std::move(errors)};
}

bool IsOneLine(const std::string& text) { return !text.empty() && text.find('\n') == text.size() - 1; }

class ToolTest : public ::testing::Test {
 protected:
  ToolTest() { std::filesystem::create_directory(folder_); }
  ~ToolTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  // Writes a file and returns its path.
  template <typename T>
  std::string Write(const std::string& name, std::vector<int64_t> shape, const std::vector<T>& values) const {
    constexpr DType kType = sizeof(T) == 2 ? DType::kFp16 : sizeof(T) == 4 ? DType::kFp32 : DType::kFp64;
    absl::StatusOr<npy::OutputFile> file = npy::OutputFile::Create(Path(name), kType, shape);
    EXPECT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->data().size(), values.size() * sizeof(T));
    const auto bytes = std::as_bytes(std::span(values));
    std::copy(bytes.begin(), bytes.end(), file->data().begin());
    EXPECT_TRUE(file->Commit().ok());
    return Path(name);
  }

  static std::string Contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("kldiv_tool_test." + std::to_string(getpid()));
};

// Without a server.

TEST_F(ToolTest, PrintsTheDigitsLossesLocally) {
  // PyTorch's binary64 batchmean.
  const Ended batchmean = Kldiv({"eval", "--local", "--reduction=batchmean", kInput, kTarget});
  EXPECT_EQ(batchmean.code, 0);
  EXPECT_EQ(batchmean.output, "0.3992725936154355\n");
  EXPECT_THAT(batchmean.errors, IsEmpty());
}

TEST_F(ToolTest, PrintsLossesThatAreNotFiniteInWords) {
  const std::string minus_infinity = Write<float>("x.npy", {1}, {-kInfinity});
  const std::string infinity = Write<float>("y.npy", {1}, {kInfinity});
  const std::string zero = Write<float>("zero.npy", {1}, {0});
  const std::string one = Write<float>("one.npy", {1}, {1});
  const auto loss = [&](const std::string& input, const std::string& target, const char* flag) {
    return Kldiv({"eval", "--local", "--reduction=sum", flag, input, target}).output;
  };
  EXPECT_EQ(loss(minus_infinity, zero, "--zero_target=torch"), "nan\n");
  EXPECT_EQ(loss(minus_infinity, zero, "--zero_target=skip"), "0\n");
  EXPECT_EQ(loss(minus_infinity, one, "--zero_target=torch"), "inf\n");
  EXPECT_EQ(loss(infinity, one, "--zero_target=torch"), "-inf\n");
  const auto json = nlohmann::json::parse(
      Kldiv({"eval", "--local", "--reduction=sum", "--format=json", minus_infinity, zero}).output);
  EXPECT_EQ(json["loss"], "nan");
}

TEST_F(ToolTest, PrintsJsonForPrograms) {
  const Ended ended = Kldiv({"eval", "--local", "--format=json", "--reduction=batchmean", kInput, kTarget});
  ASSERT_EQ(ended.code, 0) << ended.errors;
  EXPECT_TRUE(IsOneLine(ended.output));
  const auto json = nlohmann::json::parse(ended.output);
  EXPECT_EQ(json["loss"].get<double>(), 0.3992725936154355);
  EXPECT_EQ(json["reduction"], "batchmean");
  EXPECT_EQ(json["shape"], nlohmann::json({898, 10}));
  EXPECT_EQ(json["input_dtype"], "float32");
  EXPECT_EQ(json["target_dtype"], "float32");
  EXPECT_EQ(json["element_count"], 8980);
  EXPECT_EQ(json["numerics_version"], 1);
  for (const char* name : {"queue_ns", "compute_ns", "total_ns", "batch_pairs"}) {
    EXPECT_TRUE(json["timing"][name].is_number_integer()) << name;
  }
}

TEST_F(ToolTest, WritesPointwiseLossesInThePromotedDtype) {
  const std::string half = Write<uint16_t>("half.npy", {2}, {0xbc00, 0xc000});          // -1, -2
  const std::string target16 = Write<uint16_t>("target16.npy", {2}, {0x3c00, 0x0000});  // 1, 0
  const std::string target64 = Write<double>("target64.npy", {2}, {1, 0});
  const Ended same =
      Kldiv({"eval", "--local", "--reduction=none", "--output=" + Path("same.npy"), half, target16});
  ASSERT_EQ(same.code, 0) << same.errors;
  EXPECT_THAT(same.output, IsEmpty());
  const absl::StatusOr<npy::File> losses16 = npy::File::Open(Path("same.npy"));
  ASSERT_TRUE(losses16.ok()) << losses16.status();
  EXPECT_EQ(losses16->array().dtype, DType::kFp16);
  const uint16_t expected16[] = {0x3c00, 0x0000};
  EXPECT_EQ(std::memcmp(losses16->array().data.data(), expected16, sizeof expected16), 0);

  ASSERT_EQ(
      Kldiv({"eval", "--local", "--reduction=none", "--output", Path("mixed.npy"), half, target64}).code, 0);
  const absl::StatusOr<npy::File> losses64 = npy::File::Open(Path("mixed.npy"));
  ASSERT_TRUE(losses64.ok()) << losses64.status();
  EXPECT_EQ(losses64->array().dtype, DType::kFp64);
  const double expected64[] = {1, 0};
  EXPECT_EQ(std::memcmp(losses64->array().data.data(), expected64, sizeof expected64), 0);
}

TEST_F(ToolTest, EvaluatesEmptyTensorsAsPyTorchDoes) {
  const std::string no_rows = Write<float>("no_rows.npy", {0, 3}, {});
  const std::string no_columns = Write<float>("no_columns.npy", {3, 0}, {});
  const auto loss = [&](const std::string& file, const std::string& reduction) {
    return Kldiv({"eval", "--local", "--reduction=" + reduction, file, file}).output;
  };
  EXPECT_EQ(loss(no_rows, "mean"), "nan\n");
  EXPECT_EQ(loss(no_rows, "sum"), "0\n");
  EXPECT_EQ(loss(no_rows, "batchmean"), "nan\n");
  EXPECT_EQ(loss(no_columns, "batchmean"), "0\n");
}

TEST_F(ToolTest, HintsAtWhatIsProbablyAMistake) {
  const std::string good_input =
      Write<float>("x.npy", {2, 2}, {-0.6931472F, -0.6931472F, -0.6931472F, -0.6931472F});
  const std::string good_target = Write<float>("t.npy", {2, 2}, {0.5F, 0.5F, 0.25F, 0.75F});
  const std::string probabilities = Write<float>("p.npy", {2, 2}, {0.5F, 0.5F, 0.9F, 0.1F});
  const std::string logits = Write<float>("l.npy", {2, 2}, {0.5F, 0.5F, 3, 2});
  const auto errors = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"eval", "--local"});
    const Ended ended = Kldiv(arguments);
    EXPECT_EQ(ended.code, 0);
    EXPECT_TRUE(IsOneLine(ended.output)) << ended.output;  // Never into the result.
    return ended.errors;
  };
  EXPECT_THAT(errors({"--reduction=batchmean", good_input, good_target}), IsEmpty());
  EXPECT_THAT(errors({"--reduction=batchmean", "--log_target", good_input, good_input}), IsEmpty());
  EXPECT_THAT(errors({good_input, good_target}),
              AllOf(StartsWith("kldiv: hint: mean"), HasSubstr("--reduction=batchmean")));
  EXPECT_THAT(errors({"--reduction=batchmean", probabilities, good_target}),
              AllOf(StartsWith("kldiv: hint: the input has 4 positive values"), HasSubstr("0.9")));
  EXPECT_THAT(errors({"--reduction=batchmean", good_input, logits}),
              StartsWith("kldiv: hint: 1 of 2 rows of the target do not sum to 1"));
  EXPECT_THAT(errors({"--reduction=batchmean", "--log_target", good_input, good_target}),
              StartsWith("kldiv: hint: 2 of 2 rows of the target's exponentials do not sum to 1"));
}

TEST_F(ToolTest, FindsTheDivergenceOfOneRowInItsSum) {
  const std::string input = Write<float>("x.npy", {2}, {-0.7F, -0.7F});
  const std::string target = Write<float>("t.npy", {2}, {0.5F, 0.5F});
  EXPECT_THAT(Kldiv({"eval", "--local", input, target}).errors, HasSubstr("--reduction=sum"));
}

TEST_F(ToolTest, EndsWithTwoAndOneLineOnBadUsage) {
  std::ofstream(Path("text.npy")) << "not an array";
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "no command"},
      {{"evaluate"}, "unknown command evaluate"},
      {{"eval", kInput}, "got 1"},
      {{"eval", kInput, kTarget, kTarget}, "got 3"},
      {{"info", "x"}, "info takes no arguments"},
      {{"eval", kInput, kTarget, "--nonsense"}, "nonsense"},
      {{"eval", kInput, kTarget, "--reduction=median"},
       "--reduction=median: expected one of none, mean, batchmean, sum"},
      {{"eval", kInput, kTarget, "--zero_target=drop"}, "--zero_target=drop"},
      {{"eval", kInput, kTarget, "--format=xml"}, "--format=xml"},
      {{"eval", kInput, kTarget, "--timeout=30"}, "timeout"},
      {{"eval", kInput, kTarget, "--timeout=-1s"}, "--timeout=-1s"},
      {{"eval", kInput, kTarget, "--timeout=inf"}, "--timeout=inf"},
      {{"eval", kInput, kTarget, "--server="}, "--server is empty"},
      {{"eval", kInput, kTarget, "--reduction=none"}, "--output"},
      {{"eval", kInput, kTarget, "--output=x.npy"}, "--output"},
      {{"eval", kInput, kTarget, "--local", "--reduction=none", "--output=/nowhere/x.npy"}, "/nowhere/x.npy"},
      {{"eval", kInput, kTarget, "--local", "--reduction=none", "--output=/dev/null"}, "/dev/null"},
      {{"eval", "none.npy", kTarget}, "none.npy: cannot be opened"},
      {{"eval", kInput, Path("text.npy")}, "text.npy: it is not a NumPy .npy file"},
      {{"info", "--server_ca=x"}, "--server_ca"},
      {{"info", "--client_cert=x"}, "--client_cert"},
      {{"info", "--client_key=x"}, "--client_key"},
      {{"info", "--client_token_file=x"}, "--client_token_file"}};
  for (const auto& [arguments, why] : cases) {
    const Ended ended = Kldiv(arguments);
    EXPECT_EQ(ended.code, 2) << why;
    EXPECT_THAT(ended.output, IsEmpty()) << why;
    EXPECT_THAT(ended.errors, AllOf(StartsWith("kldiv: "), HasSubstr(why)));
    EXPECT_TRUE(IsOneLine(ended.errors)) << ended.errors;
  }
}

TEST_F(ToolTest, EndsWithOneWhenTheServerCannotBeReached) {
  const std::string nowhere = "--server=unix:" + Path("no.sock");
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"eval", kInput, kTarget}, {"info"}, {"health"}}) {
    std::vector<std::string> arguments = command;
    arguments.push_back(nowhere);
    const Ended ended = Kldiv(arguments);
    EXPECT_EQ(ended.code, 1);
    EXPECT_THAT(ended.output, IsEmpty());
    EXPECT_THAT(ended.errors, AllOf(HasSubstr("UNAVAILABLE"), HasSubstr("no.sock")));
    EXPECT_TRUE(IsOneLine(ended.errors)) << ended.errors;
  }
}

TEST_F(ToolTest, EndsWithOneWhenTheShapesDiffer) {
  const std::string other = Write<float>("t.npy", {2}, {0.5F, 0.5F});
  const Ended ended = Kldiv({"eval", "--local", kInput, other});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.errors, AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("[898, 10]"), HasSubstr("[2]")));
}

TEST_F(ToolTest, TellsItsUsageAndVersion) {
  const Ended help = Kldiv({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.output, AllOf(HasSubstr("kldiv eval INPUT.npy TARGET.npy"), HasSubstr("--zero_target")));
  const Ended version = Kldiv({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_THAT(version.output, StartsWith("kldiv 0."));
}

TEST_F(ToolTest, TakesFlagsFromTheEnvironmentUnlessTheyAreGiven) {
  const Environment sum = {{"KLDIV_REDUCTION", "sum"}, {"KLDIV_LOCAL", "true"}};
  EXPECT_EQ(Kldiv({"eval", kInput, kTarget}, sum).output, "358.54678906666106\n");
  EXPECT_EQ(Kldiv({"eval", "--reduction", "batchmean", kInput, kTarget}, sum).output, "0.3992725936154355\n");
  const Ended wrong = Kldiv({"eval", kInput, kTarget}, {{"KLDIV_REDUCTION", "median"}});
  EXPECT_EQ(wrong.code, 2);
}

// With a server.

class ToolWithServerTest : public ToolTest {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<client_testing::RealServer>(); }
  static void TearDownTestSuite() { server_.reset(); }

  static Ended KldivWithServer(std::vector<std::string> arguments) {
    return Kldiv(std::move(arguments), {{"KLDIV_SERVER", server_->address()}});
  }

  static inline std::unique_ptr<client_testing::RealServer> server_;
};

TEST_F(ToolWithServerTest, PrintsTheSameDigitsAsLocally) {
  for (const std::string reduction : {"mean", "batchmean", "sum"}) {
    const std::string flag = "--reduction=" + reduction;
    const Ended remote = KldivWithServer({"eval", flag, kInput, kTarget});
    EXPECT_EQ(remote.code, 0) << remote.errors;
    EXPECT_EQ(remote.output, Kldiv({"eval", "--local", flag, kInput, kTarget}).output);
  }
  EXPECT_EQ(KldivWithServer({"eval", "--reduction=batchmean", kInput, kTarget}).output,
            "0.3992725936154355\n");
}

TEST_F(ToolWithServerTest, PrintsTheSameDigitsForAPairOfManyTiles) {
  std::vector<float> input(3'000'001), target(input.size());
  for (size_t i = 0; i < input.size(); ++i) {
    input[i] = -static_cast<float>(i % 1009) / 100;
    target[i] = static_cast<float>(i % 97) / 97;
  }
  const std::string x = Write("x.npy", {3'000'001}, input);
  const std::string t = Write("t.npy", {3'000'001}, target);
  const Ended remote = KldivWithServer({"eval", "--reduction=sum", x, t});
  EXPECT_EQ(remote.code, 0) << remote.errors;
  EXPECT_EQ(remote.output, Kldiv({"eval", "--local", "--reduction=sum", x, t}).output);
}

TEST_F(ToolWithServerTest, WritesTheSamePointwiseFileAsLocally) {
  const std::vector<std::string> arguments = {"eval", "--reduction=none", kInput, kTarget, "--output"};
  std::vector<std::string> remote = arguments, local = arguments;
  remote.push_back(Path("remote.npy"));
  local.push_back(Path("local.npy"));
  local.push_back("--local");
  const Ended ended = KldivWithServer(remote);
  EXPECT_EQ(ended.code, 0) << ended.errors;
  EXPECT_EQ(Kldiv(local).code, 0);
  EXPECT_FALSE(Contents(Path("remote.npy")).empty());
  EXPECT_EQ(Contents(Path("remote.npy")), Contents(Path("local.npy")));
}

TEST_F(ToolWithServerTest, PrintsTheServersTimingAsJson) {
  const Ended ended = KldivWithServer({"eval", "--format=json", kInput, kTarget});
  ASSERT_EQ(ended.code, 0) << ended.errors;
  const auto json = nlohmann::json::parse(ended.output);
  EXPECT_EQ(json["numerics_version"], 1);
  EXPECT_EQ(json["timing"]["batch_pairs"], 1);
  EXPECT_GT(json["timing"]["total_ns"], 0);
}

TEST_F(ToolWithServerTest, TellsFacts) {
  const Ended text = KldivWithServer({"info"});
  EXPECT_EQ(text.code, 0) << text.errors;
  EXPECT_THAT(text.output, AllOf(AnyOf(HasSubstr("backend: cpu\n"), HasSubstr("backend: cuda\n")),
                                 HasSubstr("max_message_bytes: 67108864\n"),
                                 HasSubstr("numerics_version: 1\n"), HasSubstr("devices: ")));
  const Ended ended = KldivWithServer({"info", "--format=json"});
  ASSERT_EQ(ended.code, 0) << ended.errors;
  const auto json = nlohmann::json::parse(ended.output);
  EXPECT_EQ(json["max_message_bytes"], 67108864);
  EXPECT_EQ(json["max_pairs_per_message"], 65536);
  EXPECT_TRUE(json["devices"].is_array());
  EXPECT_TRUE(json["features"].is_array());
}

TEST_F(ToolWithServerTest, TellsHealth) {
  const Ended ended = KldivWithServer({"health"});
  EXPECT_EQ(ended.code, 0) << ended.errors;
  EXPECT_EQ(ended.output, "SERVING\n");
}

TEST_F(ToolWithServerTest, RefusesWhatIsTooLargeForTheServerAndEvaluatesItLocally) {
  const std::string file = Write("large.npy", {9'000'000}, std::vector<float>(9'000'000, -1));
  const Ended remote = KldivWithServer({"eval", "--reduction=sum", file, file});
  EXPECT_EQ(remote.code, 1);
  EXPECT_THAT(remote.errors, AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("720000"), HasSubstr("67108864"),
                                   HasSubstr("--max_message_bytes")));
  EXPECT_TRUE(IsOneLine(remote.errors)) << remote.errors;
  EXPECT_EQ(Kldiv({"eval", "--local", "--reduction=sum", "--log_target", file, file}).output, "0\n");
}

TEST_F(ToolWithServerTest, EndsWithOneAtItsTimeout) {
  const Ended ended = KldivWithServer({"eval", "--timeout=1ns", kInput, kTarget});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.errors, HasSubstr("DEADLINE_EXCEEDED"));
}

}  // namespace
}  // namespace kldiv
