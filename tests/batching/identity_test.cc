#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/batching/batcher.h"
#include "server/batching/lane_runner.h"
#include "server/lanes/cpu_lane.h"
#include "server/numerics/float_control.h"
#include "tests/testing/collecting_task.h"
#include "tests/testing/random_pair.h"

// An answer is a function of the pair alone: bit for bit the scalar reference's, whatever shares its batch,
// however it is cut, whichever lane evaluates it.
namespace kldiv::server {
namespace {

using testing::DoneTasks;
using testing::RandomPair;

// A CPU lane on a thread where a library has switched subnormals off.
class FlushingLane final : public Lane {
 public:
  absl::Status Run(std::span<const Piece> pieces) override {
    numerics::FlushSubnormals();
    return cpu_->Run(pieces);
  }

 private:
  const std::unique_ptr<Lane> cpu_ = MakeCpuLane();
};

// A pair, its right answer, and room for a pointwise one.
struct Question {
  RandomPair pair;
  bool pointwise;
  std::vector<uint8_t> right;
  std::vector<uint8_t> answer;

  Question(const RandomPair::Shape& shape, bool none, std::mt19937_64& random)
      : pair(shape, random), pointwise(none) {
    if (pointwise) {
      right = pair.Pointwise();
      answer.resize(right.size());
    } else {
      right.resize(8);
      const uint64_t bits = std::bit_cast<uint64_t>(pair.Sum());
      std::memcpy(right.data(), &bits, 8);
    }
  }

  // What a finished pair says.
  std::vector<uint8_t> AnswerOf(const TaskPair& result) const {
    if (pointwise) return answer;
    std::vector<uint8_t> bytes(8);
    const uint64_t bits = std::bit_cast<uint64_t>(result.sum);
    std::memcpy(bytes.data(), &bits, 8);
    return bytes;
  }
};

int64_t RandomElements(std::mt19937_64& random) {
  switch (random() % 8) {
    case 0:
      return static_cast<int64_t>(random() % 3);
    case 1:
      return static_cast<int64_t>(random() % 20'000);
    case 2:
      return static_cast<int64_t>(numerics::kTileElements * (random() % 20));
    default:
      return static_cast<int64_t>(random() % 3000);
  }
}

std::vector<std::unique_ptr<Question>> MakeQuestions(int count, std::mt19937_64& random) {
  std::vector<std::unique_ptr<Question>> questions;
  for (int i = 0; i < count; ++i) {
    const RandomPair::Shape shape{testing::RandomFormula(random), RandomElements(random),
                                  1 + random() % 20'000, random() % 4 == 0};
    questions.push_back(std::make_unique<Question>(shape, random() % 3 == 0, random));
  }
  return questions;
}

// Tasks of one to nine questions, in order. An empty answer has no bytes to point to and needs none.
std::vector<std::unique_ptr<Task>> MakeTasks(const std::vector<std::unique_ptr<Question>>& questions,
                                             DoneTasks& done, std::mt19937_64& random) {
  std::vector<std::unique_ptr<Task>> tasks;
  for (size_t at = 0; at < questions.size();) {
    const size_t count = std::min<size_t>(1 + random() % 9, questions.size() - at);
    std::vector<const wire::Pair*> pairs;
    for (size_t i = 0; i < count; ++i) pairs.push_back(&questions[at + i]->pair.pair());
    tasks.push_back(done.Make(pairs, absl::StrCat("flow ", random() % 3)));
    for (size_t i = 0; i < count; ++i) {
      Question& question = *questions[at + i];
      if (question.pointwise) tasks.back()->pairs()[i].lane.pointwise = question.answer.data();
    }
    at += count;
  }
  return tasks;
}

class Identity : public ::testing::TestWithParam<int> {};

TEST_P(Identity, HoldsForEveryPairInRandomCompany) {
  std::mt19937_64 random(static_cast<uint64_t>(GetParam()));
  const std::vector<std::unique_ptr<Question>> questions = MakeQuestions(300, random);
  // From a tile at a time, so that everything is cut, to everything at once.
  for (const int64_t max_batch_bytes : {int64_t{1}, int64_t{20'000}, int64_t{300'000}, int64_t{32} << 20}) {
    DoneTasks done;
    Batcher batcher;
    std::vector<std::unique_ptr<Task>> tasks = MakeTasks(questions, done, random);
    const size_t count = tasks.size();
    {
      std::vector<std::unique_ptr<Lane>> lanes;
      for (int i = 0; i < GetParam(); ++i) lanes.push_back(std::make_unique<FlushingLane>());
      const LaneRunner runner(batcher, LaneKind::kCpu, std::move(lanes), max_batch_bytes);
      for (std::unique_ptr<Task>& task : tasks) batcher.Enqueue(std::move(task));
      batcher.Close();
    }
    ASSERT_EQ(done.size(), count);
    for (size_t t = 0; t < count; ++t) {
      for (const TaskPair& result : done.at(t).pairs()) {
        const auto question = std::find_if(questions.begin(), questions.end(), [&](const auto& candidate) {
          return &candidate->pair.pair() == result.lane.pair;
        });
        ASSERT_TRUE(result.status.ok());
        EXPECT_EQ((*question)->AnswerOf(result), (*question)->right)
            << result.lane.pair->elements << " elements, none: " << (*question)->pointwise;
      }
    }
    for (const std::unique_ptr<Question>& question : questions) {
      std::fill(question->answer.begin(), question->answer.end(), uint8_t{0xa5});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Lanes, Identity, ::testing::Values(1, 2, 3, 4),
                         [](const auto& lanes) { return absl::StrCat(lanes.param); });

TEST(LargePair, HasTheSameBitsWhenLanesShareIt) {
  std::mt19937_64 random(11);
  for (const int64_t elements : {int64_t{1024} * 1024, int64_t{1024} * 1024 + 1, int64_t{2'500'000}}) {
    const Question question({.elements = elements, .max_slice = 16'384}, false, random);
    DoneTasks done;
    Batcher batcher;
    {
      std::vector<std::unique_ptr<Lane>> lanes;
      for (int i = 0; i < 4; ++i) lanes.push_back(MakeCpuLane());
      const LaneRunner runner(batcher, LaneKind::kCpu, std::move(lanes), int64_t{32} << 20);
      batcher.Enqueue(done.Make({&question.pair.pair()}));
      batcher.Close();
    }
    ASSERT_EQ(done.size(), 1);
    EXPECT_EQ(question.AnswerOf(done.at(0).pairs()[0]), question.right);
    EXPECT_GT(batcher.counters().batches, 1);
  }
}

}  // namespace
}  // namespace kldiv::server
