// The client library against the real server: every way to call gives the bits that this process computes
// itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <random>
#include <thread>
#include <vector>

#include "client/include/kldiv/client.h"
#include "client/tool/local_evaluation.h"
#include "tests/client/real_server.h"

namespace kldiv {
namespace {

using client_testing::RealServer;
using ::testing::HasSubstr;

// A random pair and its right sum.
class RightPair {
 public:
  RightPair(int64_t elements, uint64_t seed) : shape_{elements}, input_(elements), target_(elements) {
    std::mt19937_64 random(seed);
    std::uniform_real_distribution<float> log_probability(-10, 0), probability(0, 1);
    for (float& value : input_) value = log_probability(random);
    for (float& value : target_) value = probability(random);
    const auto input = std::as_bytes(std::span(input_)), target = std::as_bytes(std::span(target_));
    sum_ = tool::SumLosses({.formula = {}, .elements = elements, .input = input, .target = target}, 1);
  }

  Pair pair() const {
    Pair pair = {.input = {input_, shape_}, .target = {target_, shape_}};
    pair.reduction = Reduction::kSum;
    return pair;
  }

  ::testing::AssertionResult IsRight(const absl::StatusOr<Evaluation>& evaluation) const {
    if (!evaluation.ok()) return ::testing::AssertionFailure() << evaluation.status();
    if (!evaluation->loss.has_value()) return ::testing::AssertionFailure() << "no loss";
    if (std::bit_cast<uint64_t>(*evaluation->loss) == std::bit_cast<uint64_t>(sum_)) {
      return ::testing::AssertionSuccess();
    }
    return ::testing::AssertionFailure() << *evaluation->loss << " instead of " << sum_;
  }

 private:
  const std::vector<int64_t> shape_;
  std::vector<float> input_, target_;
  double sum_ = 0;
};

class IntegrationTest : public ::testing::Test {
 protected:
  static std::unique_ptr<Client> ClientOf(const RealServer& server) {
    return *Client::Create({.server = server.address()});
  }

  // Lengths around tiles, in one slice and in many, under and over the size from which the limit is asked
  // for.
  static std::vector<RightPair> Pairs() {
    std::vector<RightPair> pairs;
    uint64_t seed = 0;
    for (const int64_t elements : {0, 1, 10, 1000, 1024, 1025, 33'333, 1'000'000})
      pairs.emplace_back(elements, ++seed);
    return pairs;
  }
};

TEST_F(IntegrationTest, EveryWayToCallGivesTheRightBits) {
  const RealServer server;
  const auto client = ClientOf(server);
  const std::vector<RightPair> rights = Pairs();
  std::vector<Pair> pairs;
  for (const RightPair& right : rights) pairs.push_back(right.pair());

  const auto batch = client->EvaluateBatch(pairs);
  ASSERT_TRUE(batch.ok()) << batch.status();
  ASSERT_EQ(batch->size(), pairs.size());
  const auto stream = *client->OpenStream();
  for (size_t i = 0; i < pairs.size(); ++i) {
    EXPECT_TRUE(rights[i].IsRight(client->Evaluate(pairs[i])));
    EXPECT_TRUE(rights[i].IsRight(client->EvaluateFuture(pairs[i]).get()));
    EXPECT_TRUE(rights[i].IsRight((*batch)[i]));
    ASSERT_TRUE(stream->Write(pairs[i], i).ok());
  }
  ASSERT_TRUE(stream->WritesDone().ok());
  size_t results = 0;
  while (true) {
    const auto result = stream->Read();
    ASSERT_TRUE(result.ok()) << result.status();
    if (!result->has_value()) break;
    EXPECT_TRUE(rights[(*result)->request_id].IsRight((*result)->evaluation));
    ++results;
  }
  EXPECT_EQ(results, pairs.size());
}

TEST_F(IntegrationTest, ManyThreadsShareAClient) {
  const RealServer server;
  const auto client = ClientOf(server);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const RightPair right(1000 * t, t);
      for (int i = 0; i < 100; ++i) {
        if (!right.IsRight(client->Evaluate(right.pair()))) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(IntegrationTest, ManyPairsGoThroughAStream) {
  const RealServer server;
  const auto client = ClientOf(server);
  const auto stream = *client->OpenStream();
  const std::vector<RightPair> rights = Pairs();
  constexpr uint64_t kRounds = 200;
  std::thread writer([&] {
    for (uint64_t id = 0; id < kRounds * rights.size(); ++id) {
      const RightPair& right = rights[id % rights.size()];
      if (right.pair().input.shape[0] > 100'000 && id > rights.size()) continue;
      ASSERT_TRUE(stream->Write(right.pair(), id).ok());
    }
    ASSERT_TRUE(stream->WritesDone().ok());
  });
  uint64_t results = 0;
  for (auto result = stream->Read(); result.ok() && result->has_value(); result = stream->Read()) {
    EXPECT_TRUE(rights[(*result)->request_id % rights.size()].IsRight((*result)->evaluation));
    ++results;
  }
  writer.join();
  EXPECT_EQ(results, kRounds * (rights.size() - 1) + 1);
}

TEST_F(IntegrationTest, AStreamThatIsDestroyedHarmsNobody) {
  const RealServer server;
  const auto client = ClientOf(server);
  const RightPair large(1'000'000, 1);
  for (int i = 0; i < 5; ++i) {
    const auto stream = *client->OpenStream();
    for (uint64_t id = 0; id < 3; ++id) ASSERT_TRUE(stream->Write(large.pair(), id).ok());
  }
  EXPECT_TRUE(large.IsRight(client->Evaluate(large.pair())));
}

TEST_F(IntegrationTest, TheServersReasonArrives) {
  const RealServer server;
  const RightPair right(10, 1);
  Pair pair = right.pair();
  const int64_t other[] = {11};
  pair.target.shape = other;
  const absl::Status status = ClientOf(server)->Evaluate(pair).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("target"));
}

// A server that is stopped takes no more data, and what gRPC is writing to it stays with gRPC. The call must
// not complete before that ends.
TEST_F(IntegrationTest, ACallToAStalledServerCompletesWhenItsMemoryIsFree) {
  const RealServer server;
  const auto client = ClientOf(server);
  const RightPair large(5'000'000, 1);
  ASSERT_TRUE(large.IsRight(client->Evaluate(large.pair())));
  server.Signal(SIGSTOP);
  const auto start = std::chrono::steady_clock::now();
  const absl::StatusOr<Evaluation> blocking =
      client->Evaluate(large.pair(), {.timeout = std::chrono::seconds(1)});
  const auto blocking_end = std::chrono::steady_clock::now();
  const absl::StatusOr<Evaluation> future =
      client->EvaluateFuture(large.pair(), {.timeout = std::chrono::seconds(1)}).get();
  const auto end = std::chrono::steady_clock::now();
  server.Signal(SIGCONT);
  std::printf("%s after %f s, %s after %f s\n", blocking.status().ToString().c_str(),
              std::chrono::duration<double>(blocking_end - start).count(), future.status().ToString().c_str(),
              std::chrono::duration<double>(end - blocking_end).count());
  EXPECT_FALSE(blocking.ok());
  EXPECT_FALSE(future.ok());
  EXPECT_LT(end - start, std::chrono::seconds(60));
}

}  // namespace
}  // namespace kldiv
