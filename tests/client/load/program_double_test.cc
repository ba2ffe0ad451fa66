// The program kldiv-load with a double of the server that answers as a test says, and what it refuses.
#include <gmock/gmock.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/numerics/formula.h"
#include "tests/client/fake_server.h"
#include "tests/client/load/program.h"

namespace kldiv::load {
namespace {

using client_testing::FakeServer;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

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
            "elements, expected 0 of 0\n");
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
            "kldiv-load: failed: concurrency 1: 25 % of the calls failed, --max_error_rate allows 24.99 %\n");
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

TEST_F(DoubleTest, RefusesFilesThatCannotBeUsed) {
  const auto load = [&](const std::vector<std::string>& flags) { return Load(server_.address(), flags); };
  EXPECT_EQ(load({"--input=" + std::string("tests/data/digits/digits_student_logprobs.npy"),
                  "--target=" + (folder_ / "missing.npy")})
                .code,
            2);
  EXPECT_EQ(load({"--input=" + std::string("tests/data/digits/digits_student_logprobs.npy"),
                  "--target=tests/client/load/program.h"})
                .code,
            2);
  const Ended unwritable = load({"--json=" + (folder_ / "missing/report.json")});
  EXPECT_EQ(unwritable.code, 2);
  EXPECT_THAT(unwritable.errors, HasSubstr("--json"));
  EXPECT_EQ(calls_, 0);
}

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
