#include "server/rpc/failed_call_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "server/observability/log.h"
#include "server/rpc/service.h"
#include "tests/rpc/service_fixture.h"
#include "tests/testing/fake_transport.h"

namespace kldiv::server {
namespace {

constexpr char kTraceparent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

// What LogFailedCall writes is limited by status in the whole process, so each test has statuses of its own.
class FailedCallLog : public ServiceTest {
 protected:
  // A call that waits for its message; Logged ends it.
  testing::FakeCall& OpenCall(const std::string& traceparent) {
    testing::FakeTransport::CallOptions options;
    options.path = "/x/" + std::string(1000, 'p');
    if (!traceparent.empty()) options.headers["traceparent"] = traceparent;
    options.headers["authorization"] = "Bearer secret";
    testing::FakeCall& call = transport().Call(Method::kEvaluate, options);
    Poll();
    return call;
  }

  std::vector<nlohmann::json> Logged(testing::FakeCall& call, const absl::Status& status, uint64_t id,
                                     int times = 1) {
    SetLogFormat(LogFormat::kJson);
    ::testing::internal::CaptureStderr();
    for (int i = 0; i < times; ++i) LogFailedCall(call, status, id, std::chrono::milliseconds(5));
    call.HalfClose();
    Poll();
    std::istringstream lines(::testing::internal::GetCapturedStderr());
    std::vector<nlohmann::json> parsed;
    for (std::string line; std::getline(lines, line);) parsed.push_back(nlohmann::json::parse(line));
    return parsed;
  }
};

TEST_F(FailedCallLog, NamesTheCallItsRequestAndItsTrace) {
  Start();
  const auto lines = Logged(OpenCall(kTraceparent), absl::InvalidArgumentError("field 3"), 1ull << 63);
  ASSERT_EQ(lines.size(), 1);
  EXPECT_EQ(lines[0].at("level"), "info");
  EXPECT_EQ(lines[0].at("message"), "a call failed");
  EXPECT_EQ(lines[0].at("code"), "INVALID_ARGUMENT");
  EXPECT_EQ(lines[0].at("error"), "field 3");
  EXPECT_EQ(lines[0].at("peer"), "ipv4:10.0.0.1:5000");
  EXPECT_EQ(lines[0].at("request_id"), "9223372036854775808");
  EXPECT_EQ(lines[0].at("traceparent"), kTraceparent);
  EXPECT_EQ(lines[0].at("duration_us"), 5000);
  EXPECT_EQ(lines[0].at("method").get<std::string>().size(), 200);
  EXPECT_EQ(lines[0].dump().find("secret"), std::string::npos);
}

TEST_F(FailedCallLog, LeavesOutWhatDidNotComeOrHasAnotherForm) {
  Start();
  for (const char* traceparent : {"", "x", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
                                  "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x"}) {
    const auto lines = Logged(OpenCall(traceparent), absl::UnimplementedError("none"), 0);
    ASSERT_EQ(lines.size(), 1);
    EXPECT_FALSE(lines[0].contains("request_id"));
    EXPECT_FALSE(lines[0].contains("traceparent")) << lines[0];
  }
}

TEST_F(FailedCallLog, WarnsOfTheServersOwnFaults) {
  Start();
  EXPECT_EQ(Logged(OpenCall(""), absl::InternalError("oh"), 0).at(0).at("level"), "warning");
}

TEST_F(FailedCallLog, IsLimitedForEachStatusByItself) {
  Start();
  EXPECT_EQ(Logged(OpenCall(""), absl::NotFoundError("flood"), 0, 1000).size(), 10);
  EXPECT_EQ(Logged(OpenCall(""), absl::DataLossError("rare"), 0).size(), 1);
}

TEST_F(FailedCallLog, IsToldTheRequestIdOfAPairWithAFault) {
  Start();
  EXPECT_EQ(Evaluate(FaultyPair(/*request_id=*/77)).request_id(), 77);
}

}  // namespace
}  // namespace kldiv::server
