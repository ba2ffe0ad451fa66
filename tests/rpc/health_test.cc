#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/rpc/service_fixture.h"

namespace kldiv::server {
namespace {

using ::testing::ElementsAre;
using testing::FakeCall;
using Code = absl::StatusCode;

// Messages of grpc.health.v1, byte for byte.
const std::string kServing = "\x08\x01";
const std::string kNotServing = "\x08\x02";
const std::string kServiceUnknown = "\x08\x03";

std::string Request(const std::string& service) {
  std::string request = "\x0a";
  request += static_cast<char>(service.size());
  return request += service;
}
const std::string kOurs = Request("kldiv.v1.KlDivergence");

class HealthTest : public ServiceTest {
 protected:
  FakeCall& Watch(const std::string& request) { return Send(Method::kHealthWatch, request); }
  void End(FakeCall& watch) {
    watch.Cancel();
    Poll();
    EXPECT_TRUE(watch.done());
  }
};

TEST_F(HealthTest, IsServingUnderBothNames) {
  Start();
  EXPECT_THAT(Send(Method::kHealthCheck, "").answers(), ElementsAre(kServing));
  EXPECT_THAT(Send(Method::kHealthCheck, kOurs).answers(), ElementsAre(kServing));
  EXPECT_THAT(Send(Method::kHealthCheck, Request("")).answers(), ElementsAre(kServing));
}

TEST_F(HealthTest, KnowsNoOtherName) {
  Start();
  EXPECT_THAT(Send(Method::kHealthCheck, Request("other")).status(), HasStatus(Code::kNotFound, "other"));
}

TEST_F(HealthTest, IgnoresUnknownFieldsAndTakesTheLastName) {
  Start();
  EXPECT_THAT(Send(Method::kHealthCheck, Request("other") + std::string("\x10\x05") + kOurs).answers(),
              ElementsAre(kServing));
}

TEST_F(HealthTest, RefusesWhatCannotBeDecoded) {
  Start();
  EXPECT_EQ(Send(Method::kHealthCheck,
                 "\x0a\x05"
                 "ab")
                .status()
                .code(),
            Code::kInvalidArgument);
  EXPECT_EQ(Send(Method::kHealthCheck, std::string("\x0a\xd0\x0f") + std::string(2000, 'a')).status().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(Watch("\x0a\x05"
                  "ab")
                .status()
                .code(),
            Code::kInvalidArgument);
}

TEST_F(HealthTest, IsAnsweredWhileTheServerDrains) {
  Start();
  service().SetPhase(ServicePhase::kLameDuck);
  EXPECT_THAT(Send(Method::kHealthCheck, kOurs).answers(), ElementsAre(kNotServing));
  EXPECT_TRUE(Evaluate(PairOf(10)).status().ok());
  service().SetPhase(ServicePhase::kRefusing);
  EXPECT_THAT(Send(Method::kHealthCheck, "").answers(), ElementsAre(kNotServing));
}

TEST_F(HealthTest, TellsWatchersEachChangeOnce) {
  Start();
  FakeCall& watch = Watch(kOurs);
  EXPECT_THAT(watch.answers(), ElementsAre(kServing));
  service().SetPhase(ServicePhase::kLameDuck);
  Poll();
  service().SetPhase(ServicePhase::kRefusing);
  Poll();
  EXPECT_THAT(watch.answers(), ElementsAre(kServing, kNotServing));
  EXPECT_FALSE(watch.ended());
  EXPECT_FALSE(service().Busy());
  service().EndWatchers();
  Poll();
  EXPECT_TRUE(watch.done());
  EXPECT_THAT(watch.status(), HasStatus(Code::kUnavailable, "shutting down"));
}

TEST_F(HealthTest, TellsASlowWatcherTheLastStateOnly) {
  Start();
  FakeCall& watch = Call(Method::kHealthWatch);
  watch.StallWrites(true);
  watch.Send("");
  Poll();
  service().SetPhase(ServicePhase::kLameDuck);
  service().SetPhase(ServicePhase::kServing);
  watch.StallWrites(false);
  Poll();
  EXPECT_THAT(watch.answers(), ElementsAre(kServing));
  End(watch);
}

TEST_F(HealthTest, LetsAnUnknownServiceBeWatched) {
  Start();
  FakeCall& watch = Watch(Request("other"));
  EXPECT_THAT(watch.answers(), ElementsAre(kServiceUnknown));
  EXPECT_FALSE(watch.ended());
  service().SetPhase(ServicePhase::kLameDuck);
  Poll();
  EXPECT_THAT(watch.answers(), ElementsAre(kServiceUnknown));
  End(watch);
}

TEST_F(HealthTest, HoldsNoGrantForAWatcherThatWaits) {
  options().read_grants = 1;
  Start();
  std::vector<FakeCall*> watchers;
  for (int i = 0; i < 100; ++i) watchers.push_back(&Watch(""));
  EXPECT_EQ(service().read_grants().held, 0);
  TickAfter(milliseconds(10'000));
  for (FakeCall* watch : watchers) {
    EXPECT_FALSE(watch->ended());
    End(*watch);
  }
}

TEST_F(HealthTest, EndsAWatcherThatNeverSaysWhatItWatches) {
  Start();
  FakeCall& watch = Call(Method::kHealthWatch);
  Poll();
  TickAfter(milliseconds(1100));
  EXPECT_TRUE(watch.done());
  EXPECT_THAT(watch.status(), HasStatus(Code::kDeadlineExceeded, "--read_timeout"));
}

TEST_F(HealthTest, EndsAWatcherThatIsCancelledWhileItIsParked) {
  options().read_grants = 1;
  Start();
  FakeCall& holder = Call(Method::kEvaluate, "ipv4:10.0.0.2:1");
  FakeCall& watch = Call(Method::kHealthWatch);
  Poll();
  End(watch);
  holder.Cancel();
  Poll();
}

TEST_F(HealthTest, IsAnsweredWhenItWasParkedBeforeTheDrain) {
  options().read_grants = 1;
  Start();
  FakeCall& holder = Call(Method::kEvaluate, "ipv4:10.0.0.2:1");
  FakeCall& check = Call(Method::kHealthCheck);
  FakeCall& watch = Call(Method::kHealthWatch);
  check.Send(kOurs);
  watch.Send(kOurs);
  Poll();
  service().SetPhase(ServicePhase::kRefusing);
  Poll();
  EXPECT_FALSE(check.ended());
  holder.Cancel();
  Poll();
  EXPECT_THAT(check.answers(), ElementsAre(kNotServing));
  EXPECT_THAT(watch.answers(), ElementsAre(kNotServing));
  End(watch);
}

TEST_F(HealthTest, LeavesPlacesForOthersWhenOneClientWatchesAndWatches) {
  options().max_health_calls = 10;
  Start();
  std::vector<FakeCall*> watchers;
  for (int i = 0; i < 5; ++i) watchers.push_back(&Watch(""));
  EXPECT_THAT(Watch("").status(), HasStatus(Code::kResourceExhausted, "too many"));
  FakeCall& other = Call(Method::kHealthWatch, "ipv4:10.0.0.99:1");
  Poll();
  EXPECT_FALSE(other.ended());
  for (FakeCall* watch : watchers) End(*watch);
  FakeCall& again = Watch("");
  EXPECT_FALSE(again.ended());
  End(again);
  other.Cancel();
  Poll();
}

TEST_F(HealthTest, IsToldThoughTheQueueIsFull) {
  options().max_queue_bytes = 1 << 20;
  Start();
  const auto hold = admission().AdmitSmall(admission().max_bytes());
  ASSERT_TRUE(hold.ok());
  EXPECT_THAT(Send(Method::kEvaluate, PairOf(10).SerializeAsString()).status(),
              HasStatus(Code::kResourceExhausted, "queue"));
  FakeCall& check = Send(Method::kHealthCheck, "");
  EXPECT_EQ(check.status(), absl::OkStatus());
  EXPECT_THAT(check.answers(), ElementsAre(kServing));
}

TEST_F(HealthTest, EndsAParkedWatcherWithTheOthers) {
  options().read_grants = 1;
  Start();
  FakeCall& holder = Call(Method::kEvaluate, "ipv4:10.0.0.2:1");
  FakeCall& watch = Call(Method::kHealthWatch);
  Poll();
  service().SetPhase(ServicePhase::kRefusing);
  service().EndWatchers();
  Poll();
  EXPECT_TRUE(watch.done());
  holder.Cancel();
  Poll();
}

}  // namespace
}  // namespace kldiv::server
