// The program kldiv-load with real servers: those that go well, stall, shed, die and come back.
#include "tests/client/load/program.h"

#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/numerics/formula.h"
#include "tests/client/real_server.h"
#include "tests/security/certificate_authority.h"

namespace kldiv::load {
namespace {

using client_testing::RealServer;
using nlohmann::json;
using server::ChildProcess;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const std::string kInput = "tests/data/digits/digits_student_logprobs.npy";
const std::string kTarget = "tests/data/digits/digits_teacher_probs.npy";

uint64_t Sum(const json& timeline, const char* what) {
  uint64_t sum = 0;
  for (const json& second : timeline) sum += second[what].get<uint64_t>();
  return sum;
}

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

TEST_F(ProgramTest, ReachesAServerThatAsksForCertificatesAndTokens) {
  const testing::CertificateAuthority authority("any");
  const testing::KeyPair pair = authority.Issue();
  const testing::KeyPair own = authority.Issue();
  const std::string ca = folder_.Write("ca.pem", authority.certificate());
  const std::string token = folder_.Write("token", "alices-token\n");
  RealServer server({"--tls_cert=" + folder_.Write("server.pem", pair.certificate),
                     "--tls_key=" + folder_.Write("server.key", pair.private_key), "--tls_client_ca=" + ca,
                     "--token_file=" + folder_.Write("tokens", "alice:alices-token\n")});
  const std::vector<std::string> plain = {"--count=50", "--warmup=0", "--shape=10", JsonFlag()};
  EXPECT_EQ(Load(server.address(), plain).code, 1);
  std::vector<std::string> secure = plain;
  secure.insert(secure.end(),
                {"--tls", "--server_ca=" + ca, "--client_cert=" + folder_.Write("own.pem", own.certificate),
                 "--client_key=" + folder_.Write("own.key", own.private_key)});
  const Ended without_token = Load(server.address(), secure);
  EXPECT_EQ(without_token.code, 1);
  EXPECT_THAT(without_token.errors, HasSubstr("UNAUTHENTICATED"));
  secure.push_back("--client_token_file=" + token);
  const Ended ended = Load(server.address(), secure);
  EXPECT_EQ(ended.code, 0) << ended.errors;
  EXPECT_EQ(Report()["runs"][0]["ok"], 50);
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
  EXPECT_GT(run["latency_us"]["p90"].get<double>(), 550'000);  // 200 calls waited for 590 ms or more
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
    ProgressWith(program, ": 0 answers/s");
    ChildProcess returned({KLDIV_SERVER_PROGRAM, "--listen=" + address, "--metrics_listen="});
    EXPECT_THAT(returned.OutputLine(), StartsWith("listening on " + address));
    return WaitFor(program);
  }
};

TEST_P(RestartTest, CountsTheErrorsAndGoesOnWhenTheServerIsBack) {
  // Allowed in one mode and not in the others.
  const bool allowed = std::string(GetParam()) == "batch";
  const Ended ended = RunAcrossARestart({allowed ? "--max_error_rate=0.9" : "--max_error_rate=0"});
  EXPECT_EQ(ended.code, allowed ? 0 : 1);
  const std::string failure = "of the calls failed, --max_error_rate allows 0 %";
  EXPECT_EQ(ended.errors.find(failure) == std::string::npos, allowed) << ended.errors;
  const json run = Report()["runs"].at(0);
  EXPECT_EQ(run["calls"], 1200);
  EXPECT_EQ(run["errors"].size(), 1U) << run["errors"];
  EXPECT_GE(run["errors"]["UNAVAILABLE"], 200);
  EXPECT_EQ(run["ok"].get<uint64_t>() + run["errors"]["UNAVAILABLE"].get<uint64_t>(), 1200U);
  EXPECT_EQ(run["wrong_answers"], 0);
  // The 200 calls that were due in the last second were answered, in it or later.
  const json from_last(json::array_t(run["timeline"].begin() + 5, run["timeline"].end()));
  EXPECT_EQ(Sum(from_last, "errors"), 0U);
  EXPECT_GE(Sum(from_last, "ok"), 200U);
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

TEST_F(ProgramTest, EndsWithItsReportWhenAFileThatItConnectsWithIsGone) {
  RealServer server;
  const std::string token = folder_.Write("token", "a-token\n");
  ChildProcess program(
      Command(server.address(), {"--concurrency=1:2:*2", "--shape=10", "--warmup=0", "--duration=2s",
                                 "--progress", "--client_token_file=" + token, JsonFlag()}));
  ProgressWith(program, "concurrency 1, 1 s:");
  std::filesystem::remove(token);
  const Ended ended = WaitFor(program);
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.errors, HasSubstr("failed: ClientOptions.token_file=" + token));
  EXPECT_EQ(Report()["runs"].size(), 1);
  EXPECT_GT(Report()["runs"][0]["ok"], 0);
}

}  // namespace
}  // namespace kldiv::load
