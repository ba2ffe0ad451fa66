#include "server/batching/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace kldiv::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Admission, HoldsWhatItsTicketsHold) {
  Admission admission(100, 0);
  auto first = admission.Admit(60);
  auto second = admission.Admit(40);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(admission.held_bytes(), 100);
}

TEST(Admission, RefusesWhatDoesNotFitAndNamesBothFigures) {
  Admission admission(100, 0);
  auto held = admission.Admit(60);
  ASSERT_TRUE(held.ok());
  const absl::Status refused = admission.Admit(41).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), AllOf(HasSubstr("60 of 100"), HasSubstr("41 wanted")));
  EXPECT_EQ(admission.held_bytes(), 60);  // A refusal takes nothing.
}

TEST(Admission, RefusesForGoodWhatExceedsTheWholeBudget) {
  Admission admission(100, 0);
  EXPECT_EQ(admission.Admit(101).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Admission, KeepsItsReserveFromLargeMessages) {
  Admission admission(100, 10);
  auto large = admission.Admit(85);
  ASSERT_TRUE(large.ok());
  EXPECT_EQ(admission.Admit(6).status().code(), absl::StatusCode::kResourceExhausted);
  auto small = admission.AdmitSmall(15);
  EXPECT_TRUE(small.ok());
  EXPECT_EQ(admission.AdmitSmall(1).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(Admission, LetsLargeMessagesIntoTheLastByteOutsideTheReserve) {
  Admission admission(100, 10);
  auto small = admission.AdmitSmall(40);
  auto large = admission.Admit(50);
  EXPECT_TRUE(small.ok() && large.ok());
}

TEST(Admission, RefusesForGoodALargeMessageThatNeedsTheReserve) {
  Admission admission(100, 10);
  EXPECT_EQ(admission.Admit(91).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(admission.AdmitSmall(91).ok());
}

TEST(Admission, ReservesASixteenthAndNothingOfATinyBudget) {
  EXPECT_TRUE(Admission(1600).Admit(1500).ok());
  EXPECT_EQ(Admission(1600).Admit(1501).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(Admission(15).Admit(15).ok());
}

TEST(Admission, CountsWhatItAdmitsAndSheds) {
  Admission admission(100, 0);
  auto held = admission.Admit(60);
  EXPECT_FALSE(admission.Admit(60).ok());
  EXPECT_FALSE(admission.Admit(101).ok());  // Not for want of room.
  EXPECT_FALSE(admission.AdmitSmall(60).ok());
  EXPECT_TRUE(admission.AdmitSmall(10).ok());
  EXPECT_EQ(admission.counters().admitted, 2);
  EXPECT_EQ(admission.counters().shed, 2);
}

TEST(Admission, ChargesAPairForItsTileSumsWhenThereAreSeveral) {
  EXPECT_EQ(PairCharge(0), 256);
  EXPECT_EQ(PairCharge(1024), 256);
  EXPECT_EQ(PairCharge(1025), 256 + 16);
}

TEST(Admission, GetsTheBytesBackWhenTheTicketGoes) {
  Admission admission(100, 0);
  {
    auto ticket = admission.Admit(100);
    ASSERT_TRUE(ticket.ok());
  }
  EXPECT_EQ(admission.held_bytes(), 0);
}

TEST(Admission, CountsAMovedTicketOnce) {
  Admission admission(100, 0);
  auto ticket = admission.Admit(70);
  ASSERT_TRUE(ticket.ok());
  {
    Ticket owner = *std::move(ticket);
    EXPECT_EQ(admission.held_bytes(), 70);
  }
  EXPECT_EQ(admission.held_bytes(), 0);
}

TEST(Admission, NeverExceedsTheBudgetWhileThreadsRace) {
  Admission admission(3, 0);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 10'000; ++n) {
        auto ticket = admission.Admit(1);
        EXPECT_LE(admission.held_bytes(), 3);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(admission.held_bytes(), 0);
}

}  // namespace
}  // namespace kldiv::server
