// The program kldiv-load, as its user sees it: with real servers that stall, shed, die and come back, and
// with a double that answers as a test says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/numerics/formula.h"
#include "tests/client/fake_server.h"
#include "tests/client/real_server.h"
#include "tests/server/child_process.h"

namespace kldiv::load {
namespace {

using client_testing::FakeServer;
using client_testing::RealServer;
using nlohmann::json;
using server::ChildProcess;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const std::string kInput = "tests/data/digits/digits_student_logprobs.npy";
const std::string kTarget = "tests/data/digits/digits_teacher_probs.npy";

struct Ended {
  int code = 0;
  std::string output;
  std::string errors;
};

std::vector<std::string> Command(const std::string& server, const std::vector<std::string>& flags) {
  std::vector<std::string> command = {KLDIV_LOAD, "--server=" + server};
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

Ended WaitFor(ChildProcess& program) {
  Ended ended;
  ended.output = program.Output();
  ended.errors = program.Errors();
  ended.code = program.Wait();
  return ended;
}

Ended Load(const std::string& server, const std::vector<std::string>& flags) {
  ChildProcess program(Command(server, flags));
  return WaitFor(program);
}

bool IsOneLine(const std::string& text) { return !text.empty() && text.find('\n') == text.size() - 1; }

// Reads progress lines up to one that has `part`, and returns it.
std::string ProgressWith(ChildProcess& program, const std::string& part) {
  std::string line = program.ErrorLine();
  while (!line.empty() && line.find(part) == std::string::npos) line = program.ErrorLine();
  EXPECT_FALSE(line.empty()) << "no progress line with " << part;
  return line;
}

class ProgramTest : public ::testing::Test {
 protected:
  ProgramTest() { std::filesystem::create_directory(folder_); }
  ~ProgramTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  std::string JsonFlag() const { return "--json=" + Path("report.json"); }

  json Report() const {
    std::ifstream file(Path("report.json"));
    return json::parse(std::string(std::istreambuf_iterator<char>(file), {}));
  }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("kldiv_load_test." + std::to_string(getpid()));
};

uint64_t Sum(const json& timeline, const char* what) {
  uint64_t sum = 0;
  for (const json& second : timeline) sum += second[what].get<uint64_t>();
  return sum;
}

// With a real server.

TEST_F(ProgramTest, VerifiesAndReportsARunInEveryMode) {
  RealServer server;
  for (const std::string mode : {"unary", "batch", "stream"}) {
    SCOPED_TRACE(mode);
    const Ended ended =
        Load(server.address(), {"--mode=" + mode, "--batch_pairs=5", "--shape=3x100:2,1000", "--count=500",
                                "--warmup=100ms", "--connections=2", JsonFlag()});
    EXPECT_EQ(ended.code, 0);
    EXPECT_THAT(ended.errors, IsEmpty());
    EXPECT_THAT(ended.output, HasSubstr("every answer is compared with the right one"));
    const json report = Report();
    const json& run = report["runs"].at(0);
    EXPECT_EQ(run["loop"], "closed");
    EXPECT_EQ(run["concurrency"], 16);
    EXPECT_EQ(run["calls"], 500);
    EXPECT_EQ(run["ok"], 500);
    EXPECT_EQ(run["wrong_answers"], 0);
    EXPECT_EQ(run["errors"], json::object());
    EXPECT_EQ(Sum(run["timeline"], "errors"), 0U);
    const double pairs_per_call = mode == "batch" ? 5 : 1;
    EXPECT_NEAR(run["pairs_per_second"].get<double>(), pairs_per_call * run["achieved_rate"].get<double>(),
                1e-6);
    double last = 0;
    for (const char* percentile : {"min", "p50", "p90", "p99", "p999", "p9999", "p99999", "max"}) {
      EXPECT_GE(run["latency_us"][percentile].get<double>(), last) << percentile;
      last = run["latency_us"][percentile].get<double>();
    }
    EXPECT_EQ(run["spectrum"].back(), json({1, run["latency_us"]["max"], 500}));
    EXPECT_EQ(run["latency_us"]["p99"], report["latency_us"]["p99"]);
    EXPECT_GT(run["server_us"]["compute"]["p50"].get<double>(), 0);
    EXPECT_EQ(report["server"]["numerics_version"], numerics::kNumericsVersion);
    EXPECT_EQ(report["workload"]["mode"], mode);
  }
}

TEST_F(ProgramTest, MakesOneRunForEachValueOfARange) {
  RealServer server;
  const Ended ended =
      Load(server.address(), {"--concurrency=1:9:*3", "--count=50", "--warmup=0", "--shape=10", JsonFlag()});
  EXPECT_EQ(ended.code, 0) << ended.errors;
  const json report = Report();
  ASSERT_EQ(report["runs"].size(), 3U);
  EXPECT_EQ(report["runs"][0]["concurrency"], 1);
  EXPECT_EQ(report["runs"][1]["concurrency"], 3);
  EXPECT_EQ(report["runs"][2]["concurrency"], 9);
}

TEST_F(ProgramTest, SendsTwoFilesInEveryReduction) {
  RealServer server;
  for (const std::string reduction : {"none", "mean", "batchmean", "sum"}) {
    const Ended ended =
        Load(server.address(), {"--input=" + kInput, "--target=" + kTarget, "--reduction=" + reduction,
                                "--count=20", "--warmup=0", JsonFlag()});
    EXPECT_EQ(ended.code, 0) << ended.errors;
    EXPECT_EQ(Report()["workload"]["shapes"], json::parse(R"([{"shape": [898, 10], "weight": 1.0}])"));
    EXPECT_EQ(Report()["runs"][0]["ok"], 20);
  }
}

TEST_F(ProgramTest, ShowsAStallOfOneSecondInTheOpenLoop) {
  RealServer server;
  ChildProcess program(
      Command(server.address(), {"--rate=500", "--arrivals=constant", "--shape=10", "--warmup=200ms",
                                 "--duration=4s", "--progress", JsonFlag()}));
  ProgressWith(program, ", 1 s:");
  server.Signal(SIGSTOP);
  std::this_thread::sleep_for(std::chrono::seconds(1));  // the stall itself
  server.Signal(SIGCONT);
  const Ended ended = WaitFor(program);
  EXPECT_EQ(ended.code, 0) << ended.errors;
  const json run = Report()["runs"].at(0);
  // 500 of the 2000 calls were due in that second, and none is missing.
  EXPECT_EQ(run["calls"], 2000);
  EXPECT_EQ(run["ok"], 2000);
  EXPECT_NEAR(run["offered_rate"].get<double>(), 500, 1e-9);
  EXPECT_GT(run["latency_us"]["p999"].get<double>(), 980'000);
  EXPECT_GT(run["latency_us"]["p90"].get<double>(), 550'000);  // 300 calls waited for 600 ms or more
  EXPECT_LT(run["latency_us"]["p50"].get<double>(), 500'000);
  double longest = 0;
  for (const json& second : run["timeline"]) longest = std::max(longest, second["max_us"].get<double>());
  EXPECT_EQ(longest, run["latency_us"]["max"]);
}

TEST_F(ProgramTest, CountsWhatAServerShedsAndGoesOn) {
  RealServer server({"--max_message_bytes=1MiB", "--max_queue_bytes=1MiB", "--cpu_threads=1"});
  const std::vector<std::string> flags = {"--concurrency=128", "--connections=4", "--shape=32x1000",
                                          "--warmup=0",        "--duration=2s",   JsonFlag()};
  const Ended strict = Load(server.address(), flags);
  EXPECT_EQ(strict.code, 1);
  EXPECT_THAT(strict.errors, AllOf(StartsWith("kldiv-load: failed: concurrency 128: "),
                                   HasSubstr("--max_error_rate allows 0 %")));
  const json run = Report()["runs"].at(0);
  EXPECT_EQ(run["errors"].size(), 1U) << run["errors"];
  const auto shed = run["errors"]["RESOURCE_EXHAUSTED"].get<uint64_t>();
  EXPECT_GT(shed, 0U);
  EXPECT_GT(run["ok"], 0);
  EXPECT_EQ(run["ok"].get<uint64_t>() + shed, run["calls"].get<uint64_t>());
  EXPECT_EQ(run["wrong_answers"], 0);
  EXPECT_THAT(strict.output,
              HasSubstr("RESOURCE_EXHAUSTED: " + std::to_string(shed) + " calls, the first: "));
}

// A server that is killed in the middle of a run and comes back on the same port.
class RestartTest : public ProgramTest, public ::testing::WithParamInterface<const char*> {
 protected:
  Ended RunAcrossARestart(const std::vector<std::string>& more_flags) {
    std::string address = "127.0.0.1:0";
    auto server = std::make_unique<ChildProcess>(
        std::vector<std::string>{KLDIV_SERVER_PROGRAM, "--listen=" + address, "--metrics_listen="});
    const std::string line = server->OutputLine();
    address = line.substr(13, line.find(' ', 13) - 13);  // after "listening on "
    std::vector<std::string> flags = {
        "--rate=200",    "--arrivals=constant", "--shape=10", "--warmup=0",
        "--duration=6s", "--progress",          JsonFlag(),   std::string("--mode=") + GetParam()};
    flags.insert(flags.end(), more_flags.begin(), more_flags.end());
    ChildProcess program(Command(address, flags));
    ProgressWith(program, ", 1 s:");
    server.reset();  // by SIGKILL
    EXPECT_THAT(ProgressWith(program, ", 3 s:"), HasSubstr(": 0 answers/s"));
    ChildProcess returned({KLDIV_SERVER_PROGRAM, "--listen=" + address, "--metrics_listen="});
    EXPECT_THAT(returned.OutputLine(), StartsWith("listening on " + address));
    return WaitFor(program);
  }
};

TEST_P(RestartTest, CountsTheErrorsAndGoesOnWhenTheServerIsBack) {
  const Ended strict = RunAcrossARestart({});
  EXPECT_EQ(strict.code, 1);
  EXPECT_THAT(strict.errors, HasSubstr("of the calls failed, --max_error_rate allows 0 %"));
  const json run = Report()["runs"].at(0);
  EXPECT_EQ(run["calls"], 1200);
  EXPECT_EQ(run["errors"].size(), 1U) << run["errors"];
  EXPECT_GE(run["errors"]["UNAVAILABLE"], 200);
  EXPECT_EQ(run["ok"].get<uint64_t>() + run["errors"]["UNAVAILABLE"].get<uint64_t>(), 1200U);
  EXPECT_EQ(run["wrong_answers"], 0);
  const json& last = run["timeline"].at(5);
  EXPECT_EQ(last["errors"], 0);
  EXPECT_EQ(last["ok"], last["offered"]);
}

TEST_P(RestartTest, SucceedsWhereSoManyErrorsAreAllowed) {
  EXPECT_EQ(RunAcrossARestart({"--max_error_rate=0.9"}).code, 0);
}

INSTANTIATE_TEST_SUITE_P(Modes, RestartTest, ::testing::Values("unary", "batch", "stream"));

TEST_F(ProgramTest, FailsWhenAnSloIsMissed) {
  RealServer server;
  const auto run = [&](const std::string& slo) {
    return Load(server.address(), {"--count=100", "--warmup=0", "--shape=10", "--slo=" + slo, JsonFlag()});
  };
  EXPECT_EQ(run("p99.9<9h").code, 0);
  EXPECT_EQ(Report()["slo"], json({{"expression", "p99.9<9h"}, {"met", true}}));
  const Ended missed = run("p50<9h,p99<1ns");
  EXPECT_EQ(missed.code, 1);
  EXPECT_EQ(missed.errors, "kldiv-load: failed: concurrency 16: --slo=p50<9h,p99<1ns was missed\n");
  EXPECT_THAT(missed.output, HasSubstr("SLO p50<9h,p99<1ns: missed\n"));
  EXPECT_EQ(Report()["slo"]["met"], false);
}

TEST_F(ProgramTest, EndsEarlyWithItsReportAtAnInterrupt) {
  RealServer server;
  ChildProcess program(Command(server.address(), {"--rate=100", "--shape=10", "--warmup=0", "--duration=1h",
                                                  "--progress", JsonFlag()}));
  ProgressWith(program, ", 1 s:");
  program.Signal(SIGINT);
  const Ended ended = WaitFor(program);
  EXPECT_EQ(ended.code, 0) << ended.errors;
  EXPECT_THAT(ended.output, HasSubstr("rate 100"));
  EXPECT_GT(Report()["runs"][0]["ok"], 0);
}

// With a double.

// Answers pairs without elements, whose sum is 0, rightly, but for what the test says.
class DoubleTest : public ProgramTest {
 protected:
  DoubleTest() {
    server_.get_server_info = [this](v1::GetServerInfoResponse& response) {
      response.set_numerics_version(numerics_version_);
      return grpc::Status::OK;
    };
    server_.evaluate = [this](grpc::ServerContext&, const v1::EvaluateRequest& request,
                              v1::EvaluateResponse& response) {
      response.set_request_id(request.request_id());
      response.set_loss(loss_of_(++calls_));
      return status_of_(calls_);
    };
  }

  // Calls come one after the other, so that `calls_` numbers them.
  Ended LoadOneByOne(std::vector<std::string> flags) {
    flags.insert(flags.end(), {"--shape=0", "--reduction=sum", "--concurrency=1", JsonFlag()});
    return Load(server_.address(), flags);
  }

  uint32_t numerics_version_ = numerics::kNumericsVersion;
  std::atomic<int> calls_ = 0;
  std::function<double(int call)> loss_of_ = [](int) { return 0.0; };
  std::function<grpc::Status(int call)> status_of_ = [](int) { return grpc::Status::OK; };
  FakeServer server_;
};

TEST_F(DoubleTest, SucceedsWithRightAnswers) {
  EXPECT_EQ(LoadOneByOne({"--count=100", "--warmup=0"}).code, 0);
  EXPECT_EQ(calls_, 100);
}

TEST_F(DoubleTest, FailsAtOneWrongAnswerWhateverIsAllowed) {
  loss_of_ = [](int call) { return call == 77 ? -0.0 : 0.0; };  // one bit
  const Ended ended = LoadOneByOne({"--count=100", "--warmup=0", "--max_error_rate=1"});
  EXPECT_EQ(ended.code, 1);
  EXPECT_EQ(ended.errors,
            "kldiv-load: failed: concurrency 1: WRONG ANSWERS: 1, the first: a pair of shape 0: loss -0 of 0 "
            "elements, "
            "expected 0 of 0\n");
  EXPECT_EQ(Report()["wrong_answers"], 1);
  EXPECT_EQ(Report()["runs"][0]["ok"], 99);
  calls_ = 0;
  EXPECT_EQ(LoadOneByOne({"--count=100", "--warmup=0", "--verify=false"}).code, 0);
}

TEST_F(DoubleTest, FailsAtAWrongAnswerInTheWarmUp) {
  loss_of_ = [](int call) { return call == 1 ? 42.0 : 0.0; };
  const Ended ended = LoadOneByOne({"--count=1", "--warmup=50ms"});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.errors, HasSubstr("WRONG ANSWERS: 1 (1 in the warm-up), the first: "));
  EXPECT_EQ(Report()["wrong_answers"], 0);
  EXPECT_EQ(Report()["runs"][0]["wrong_in_warmup"], 1);
}

TEST_F(DoubleTest, AllowsSoManyErrorsAndNotOneMore) {
  status_of_ = [](int call) {
    return call % 4 == 0 ? grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full")
                         : grpc::Status::OK;
  };
  EXPECT_EQ(LoadOneByOne({"--count=400", "--warmup=0", "--max_error_rate=0.25"}).code, 0);
  EXPECT_EQ(Report()["errors"], json({{"RESOURCE_EXHAUSTED", 100}}));
  EXPECT_EQ(Report()["runs"][0]["error_texts"]["RESOURCE_EXHAUSTED"], "the queue is full");
  calls_ = 0;
  const Ended strict = LoadOneByOne({"--count=400", "--warmup=0", "--max_error_rate=0.2499"});
  EXPECT_EQ(strict.code, 1);
  EXPECT_EQ(strict.errors,
            "kldiv-load: failed: concurrency 1: 25 % of the calls failed, --max_error_rate allows 25 %\n");
}

TEST_F(DoubleTest, RefusesAServerWithOtherNumericsUnlessNothingIsVerified) {
  numerics_version_ = numerics::kNumericsVersion + 1;
  const Ended refused = LoadOneByOne({"--count=1", "--warmup=0"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_TRUE(IsOneLine(refused.errors)) << refused.errors;
  EXPECT_THAT(refused.errors, HasSubstr("numerics_version"));
  EXPECT_EQ(calls_, 0);
  EXPECT_EQ(LoadOneByOne({"--count=1", "--warmup=0", "--verify=false"}).code, 0);
}

TEST_F(DoubleTest, NeedsAServerThatTellsItsNumericsUnlessNothingIsVerified) {
  server_.get_server_info = nullptr;
  const Ended failed = LoadOneByOne({"--count=1", "--warmup=0"});
  EXPECT_EQ(failed.code, 1);
  EXPECT_THAT(failed.errors, HasSubstr("UNIMPLEMENTED"));
  EXPECT_EQ(LoadOneByOne({"--count=1", "--warmup=0", "--verify=false"}).code, 0);
  EXPECT_EQ(Report()["server"], nullptr);
}

TEST_F(DoubleTest, SearchesTheConcurrencyThatAnSloAllows) {
  std::mutex one_at_a_time;
  status_of_ = [&](int) {
    const std::lock_guard lock(one_at_a_time);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the work of a server with one thread
    return grpc::Status::OK;
  };
  const Ended ended = LoadOneByOne({"--warmup=0", "--search", "--slo=p50<50ms"});
  EXPECT_EQ(ended.code, 0) << ended.errors;
  EXPECT_THAT(
      ended.output,
      AllOf(HasSubstr("rule: a load holds when 3 seconds in a row, of 5 at most, each meet p50<50ms"),
            HasSubstr("concurrency 1 holds: good good good\n"),
            HasSubstr("concurrency 2 holds: good good good\n"),
            HasSubstr("concurrency 4 does not hold: bad bad bad\n"),
            HasSubstr("concurrency 3 does not hold: bad bad bad\n"), HasSubstr("best: concurrency 2\n")));
  EXPECT_EQ(Report()["search"]["best"], 2);
}

// Without a server.

TEST_F(ProgramTest, FailsWithoutAServer) {
  int port = 0;
  {
    FakeServer server;
    port = std::stoi(server.address().substr(10));  // after "127.0.0.1:"
  }
  const Ended ended = Load("127.0.0.1:" + std::to_string(port), {"--count=1"});
  EXPECT_EQ(ended.code, 1);
  EXPECT_TRUE(IsOneLine(ended.errors)) << ended.errors;
  EXPECT_THAT(ended.errors, HasSubstr("UNAVAILABLE"));
}

TEST_F(ProgramTest, RefusesBadFlagsInALineThatNamesThem) {
  const std::pair<std::vector<std::string>, const char*> kCases[] = {
      {{"--concurrency=0"}, "--concurrency"},
      {{"--concurrency=1.5"}, "--concurrency"},
      {{"--concurrency=65537"}, "--concurrency"},
      {{"--concurrency=1:8:2"}, "--concurrency"},
      {{"--rate=0"}, "--rate"},
      {{"--rate=-5"}, "--rate"},
      {{"--rate=1e8"}, "--rate"},
      {{"--rate=5", "--concurrency=5"}, "--rate"},
      {{"--arrivals=often"}, "--arrivals"},
      {{"--search"}, "--search"},
      {{"--search", "--slo=p99<5ms", "--rate=1:8:*2"}, "--search"},
      {{"--search", "--slo=p99<5ms", "--count=5"}, "--search"},
      {{"--slo=p99"}, "--slo"},
      {{"--slo=p99<5"}, "--slo"},
      {{"--max_error_rate=1.1"}, "--max_error_rate"},
      {{"--max_error_rate=nan"}, "--max_error_rate"},
      {{"--max_error_rate=-0.1"}, "--max_error_rate"},
      {{"--mode=burst"}, "--mode"},
      {{"--mode=batch", "--batch_pairs=0"}, "--batch_pairs"},
      {{"--shape=3x"}, "--shape"},
      {{"--shape=3:0"}, "--shape"},
      {{"--dtype=fp8"}, "--dtype"},
      {{"--reduction=median"}, "--reduction"},
      {{"--input=x.npy"}, "--input"},
      {{"--target=x.npy"}, "--target"},
      {{"--connections=0"}, "--connections"},
      {{"--threads=0"}, "--threads"},
      {{"--warmup=-1s"}, "--warmup"},
      {{"--duration=0"}, "--duration"},
      {{"--count=-1"}, "--count"},
      {{"--timeout=0"}, "--timeout"},
      {{"--nonsense"}, "nonsense"},
      {{"run"}, "run"}};
  for (const auto& [flags, name] : kCases) {
    SCOPED_TRACE(::testing::PrintToString(flags));
    const Ended ended = Load("127.0.0.1:1", flags);
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.errors, AllOf(StartsWith("kldiv-load: "), HasSubstr(name)));
    EXPECT_TRUE(IsOneLine(ended.errors)) << ended.errors;
    EXPECT_THAT(ended.output, IsEmpty());
  }
}

TEST_F(DoubleTest, RefusesFilesThatCannotBeUsed) {
  const auto load = [&](const std::vector<std::string>& flags) { return Load(server_.address(), flags); };
  EXPECT_EQ(load({"--input=" + kInput, "--target=" + Path("missing.npy")}).code, 2);
  EXPECT_EQ(load({"--input=" + kInput, "--target=tests/client/load/program_test.cc"}).code, 2);
  const Ended unwritable = load({"--json=" + Path("missing/report.json")});
  EXPECT_EQ(unwritable.code, 2);
  EXPECT_THAT(unwritable.errors, HasSubstr("--json"));
  EXPECT_EQ(calls_, 0);
}

TEST_F(ProgramTest, TellsItsFlagsAndItsVersion) {
  const Ended help = Load("127.0.0.1:1", {"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.output, AllOf(HasSubstr("usage: kldiv-load"), HasSubstr("--max_error_rate")));
  const Ended version = Load("127.0.0.1:1", {"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_THAT(version.output, StartsWith("kldiv-load "));
}

}  // namespace
}  // namespace kldiv::load
