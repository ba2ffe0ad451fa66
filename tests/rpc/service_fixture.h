#ifndef KLDIV_TESTS_RPC_SERVICE_FIXTURE_H_
#define KLDIV_TESTS_RPC_SERVICE_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kldiv/v1/kldiv.pb.h"
#include "server/batching/admission.h"
#include "server/batching/batcher.h"
#include "server/batching/lane_runner.h"
#include "server/rpc/service.h"
#include "server/rpc/service_options.h"
#include "tests/testing/fake_transport.h"
#include "tests/testing/steerable_lane.h"

namespace kldiv::server {

using std::chrono::milliseconds;

inline constexpr std::string_view kStreamPath = "/kldiv.v1.KlDivergence/EvaluateStream";

// A service with real batching and steerable lanes behind a fake transport; the test is the clients.
//
// At its end every call has ended, the counters balance and no byte is held.
class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest();
  ~ServiceTest() override;

  // Before the first call, when the defaults will not do.
  ServiceOptions& options() { return options_; }
  void Start(int transport_threads = 0, int lanes = 1);

  EvaluationService& service() { return *service_; }
  const ServiceCounters& counters() const { return service_->counters(); }
  Admission& admission() { return *admission_; }
  testing::LaneControl& lanes() { return lanes_; }
  testing::FakeTransport& transport() { return *transport_; }
  void Poll() { transport_->Poll(); }

  // The housekeeper's call, `later` from now; then delivers what came of it.
  void TickAfter(milliseconds later);

  testing::FakeCall& Call(
      Method method, std::string peer = "ipv4:10.0.0.1:5000",
      std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max());
  // A call of Evaluate with its message and half-close; what could be delivered has been.
  testing::FakeCall& Evaluate(const v1::EvaluateRequest& request, std::string peer = "ipv4:10.0.0.1:5000");
  testing::FakeCall& Send(Method method, const std::string& message, std::string peer = "ipv4:10.0.0.1:5000");
  testing::FakeCall& OpenStream(std::string peer = "ipv4:10.0.0.1:5000");

  // Without transport threads: polls until the condition holds, as results come from the lanes.
  template <class Condition>
  ::testing::AssertionResult PollUntil(Condition condition);

 private:
  ServiceOptions options_;
  std::unique_ptr<Admission> admission_;
  std::unique_ptr<Batcher> batcher_;
  testing::LaneControl lanes_;
  std::unique_ptr<LaneRunner> runner_;
  std::unique_ptr<EvaluationService> service_;
  std::unique_ptr<testing::FakeTransport> transport_;
};

// A valid FP32 pair of `elements` elements.
v1::EvaluateRequest PairOf(int64_t elements, uint64_t request_id = 1);
// Its right loss, summed in plain double precision, and what that may be wrong by.
double PlainSum(const v1::EvaluateRequest& request);
// A pair whose shapes differ.
v1::EvaluateRequest FaultyPair(uint64_t request_id = 1);

v1::EvaluateResponse ParseResponse(const testing::FakeCall& call);
v1::EvaluateResult ParseResult(const std::string& bytes);
v1::EvaluateBatchResponse ParseBatchResponse(const testing::FakeCall& call);

template <class Condition>
::testing::AssertionResult ServiceTest::PollUntil(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (;;) {
    Poll();
    if (condition()) return ::testing::AssertionSuccess();
    if (std::chrono::steady_clock::now() > end) return ::testing::AssertionFailure() << "it never came";
    std::this_thread::yield();
  }
}

MATCHER_P2(HasStatus, code, text, "") {
  const absl::Status& status = arg;
  *result_listener << status.ToString();
  return status.code() == code &&
         ::testing::Matches(::testing::HasSubstr(text))(std::string(status.message()));
}

}  // namespace kldiv::server

#endif  // KLDIV_TESTS_RPC_SERVICE_FIXTURE_H_
