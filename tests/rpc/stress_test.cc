#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "server/base/mutex.h"
#include "tests/rpc/service_fixture.h"

namespace kldiv::server {
namespace {

using testing::FakeCall;
using Code = absl::StatusCode;

// Many clients at once on several polling threads, real batching, real lanes, a housekeeper that ticks. What
// must hold whatever the order of events: every call ends once, right answers where there are any, and
// ServiceTest's balance at the end. Run under ThreadSanitizer and AddressSanitizer.
class StressTest : public ServiceTest {
 protected:
  static constexpr int kClients = 4;
  static constexpr int kCallsPerClient = 80;

  StressTest() {
    options().read_grants = 3;
    options().read_timeout = milliseconds(50);
    options().max_queue_bytes = 3 << 20;
    options().max_in_flight_per_stream = 4;
    for (const int64_t elements : {10, 3000, 6000, 30'000, 150'000}) {
      requests_.push_back(PairOf(elements));
      messages_.push_back(requests_.back().SerializeAsString());
    }
  }

  // Clients and the housekeeper; `while_running` runs beside them.
  template <class WhileRunning>
  void Run(WhileRunning while_running) {
    Start(/*transport_threads=*/3, /*lanes=*/2);
    std::thread housekeeper([this] {
      MutexLock lock(mu_);
      while (!stop_) {
        service().Tick(std::chrono::steady_clock::now());
        stopped_.WaitUntil(mu_, std::chrono::steady_clock::now() + milliseconds(1));
      }
    });
    std::vector<std::thread> clients;
    for (int i = 0; i < kClients; ++i) clients.emplace_back([this, i] { Client(i); });
    while_running();
    for (std::thread& client : clients) client.join();
    {
      MutexLock lock(mu_);
      stop_ = true;
    }
    stopped_.NotifyAll();
    housekeeper.join();
  }

 private:
  void Client(int number) {
    std::mt19937 random(static_cast<unsigned>(number));
    std::vector<FakeCall*> calls;
    for (int i = 0; i < kCallsPerClient; ++i) {
      const std::string peer =
          "ipv4:10.0.0." + std::to_string(number % 2) + ":" + std::to_string(random() % 3);
      const int kind = static_cast<int>(random() % 10);
      FakeCall& call = kind < 5   ? UnaryCall(random, peer)
                       : kind < 7 ? BatchCall(random, peer)
                                  : Stream(random, peer);
      calls.push_back(&call);
      if (random() % 4 == 0) call.Cancel();
      if (calls.size() > 12) {
        Finish(*calls.front());
        calls.erase(calls.begin());
      }
    }
    for (FakeCall* call : calls) Finish(*call);
  }

  FakeCall& UnaryCall(std::mt19937& random, const std::string& peer) {
    const bool late = random() % 16 == 0;
    FakeCall& call =
        Call(Method::kEvaluate, peer,
             late ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point::max());
    const int fate = static_cast<int>(random() % 16);
    if (fate > 0) call.Send(messages_[random() % messages_.size()]);
    if (fate == 1) call.HalfClose();
    return call;  // fate 0 never sends its message
  }

  FakeCall& BatchCall(std::mt19937& random, const std::string& peer) {
    FakeCall& call = Call(Method::kEvaluateBatch, peer);
    v1::EvaluateBatchRequest batch;
    for (auto i = random() % 5; i > 0; --i) {
      *batch.add_requests() = random() % 8 == 0 ? FaultyPair() : requests_[random() % 4];
    }
    call.Send(batch.SerializeAsString());
    return call;
  }

  FakeCall& Stream(std::mt19937& random, const std::string& peer) {
    FakeCall& call = Call(Method::kEvaluateStream, peer);
    if (random() % 3 == 0) call.StallWrites(true);
    for (auto i = random() % 8; i > 0; --i) {
      call.Send(random() % 32 == 0 ? "\xff" : messages_[random() % messages_.size()]);
    }
    if (random() % 4 != 0) call.HalfClose();
    call.StallWrites(false);
    return call;
  }

  void Finish(FakeCall& call) {
    call.HalfClose();
    EXPECT_TRUE(call.WaitUntilDone()) << call.path();
    EXPECT_TRUE(call.ended());
    if (call.method() != Method::kEvaluate || !call.status().ok()) return;
    EXPECT_TRUE(ParseResponse(call).has_loss());
  }

  Mutex mu_;
  CondVar stopped_;
  bool stop_ = false;  // guarded by mu_
  std::vector<v1::EvaluateRequest> requests_;
  std::vector<std::string> messages_;
};

TEST_F(StressTest, EndsEveryCallOnceAndLosesNothing) {
  Run([] {});
  EXPECT_GE(counters().calls_started + counters().shed_calls, kClients * kCallsPerClient);
  EXPECT_GT(counters().completed_pairs, 0);
}

TEST_F(StressTest, DrainsInTheMiddleOfIt) {
  Run([this] {
    FakeCall& watch = Call(Method::kHealthWatch);
    watch.Send("");
    ASSERT_TRUE(watch.WaitForAnswers(1));
    service().SetPhase(ServicePhase::kLameDuck);
    ASSERT_TRUE(watch.WaitForAnswers(2));
    service().SetPhase(ServicePhase::kRefusing);
    service().EndWatchers();
    EXPECT_TRUE(watch.WaitUntilDone());
  });
  EXPECT_FALSE(service().Busy());
  FakeCall& call = Call(Method::kEvaluate);
  EXPECT_TRUE(call.WaitUntilDone());
  EXPECT_THAT(call.status(), HasStatus(Code::kUnavailable, "draining"));
}

TEST_F(StressTest, WatchersComeAndGoWhileThePhaseChanges) {
  Start(3);
  std::atomic<bool> stop = false;
  std::thread changer([&] {
    while (!stop.load()) {
      service().SetPhase(ServicePhase::kLameDuck);
      service().SetPhase(ServicePhase::kServing);
    }
  });
  for (int i = 0; i < 200; ++i) {
    FakeCall& watch = Call(Method::kHealthWatch);
    watch.Send("");
    EXPECT_TRUE(watch.WaitForAnswers(1));
    watch.Cancel();
    EXPECT_TRUE(watch.WaitUntilDone());
  }
  stop.store(true);
  changer.join();
}

TEST_F(StressTest, ShedsNothingButWhatDoesNotFitFromClientsThatPushLargePairs) {
  options().read_grants = 4;
  options().max_queue_bytes = 8 << 20;
  options().read_timeout = milliseconds(60'000);
  Start(2, 2);
  const std::string large = PairOf(200'000).SerializeAsString();
  const std::string small = PairOf(1000).SerializeAsString();
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&, i] {
      for (int n = 0; n < 25; ++n) {
        FakeCall& call = Call(Method::kEvaluate, "ipv4:10.0.0.1:" + std::to_string(i));
        call.Send(large, 65536);
        EXPECT_TRUE(call.WaitUntilDone());
        EXPECT_TRUE(call.status().ok() || absl::IsResourceExhausted(call.status())) << call.status();
      }
    });
  }
  for (int n = 0; n < 200; ++n) {
    FakeCall& call = Call(Method::kEvaluate, "ipv4:10.0.0.2:1");
    call.Send(small);
    EXPECT_TRUE(call.WaitUntilDone());
    EXPECT_TRUE(call.status().ok()) << call.status();
  }
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace kldiv::server
