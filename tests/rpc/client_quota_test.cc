#include "server/rpc/client_quota.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace kldiv::server {
namespace {

// Takes as many places as it gets.
std::vector<ClientQuota::Place> TakeAll(ClientQuota& quota, const std::string& client) {
  std::vector<ClientQuota::Place> places;
  while (auto place = quota.Take(client)) places.push_back(*std::move(place));
  return places;
}

TEST(ClientQuota, GivesAGreedyClientHalfOfWhatTheOthersLeft) {
  ClientQuota quota(100);
  const auto first = TakeAll(quota, "a");
  const auto second = TakeAll(quota, "b");
  const auto third = TakeAll(quota, "c");
  EXPECT_EQ(first.size(), 50);
  EXPECT_EQ(second.size(), 25);
  EXPECT_EQ(third.size(), 13);
  EXPECT_TRUE(quota.Take("d").has_value());
}

TEST(ClientQuota, GivesPlacesBack) {
  ClientQuota quota(1);
  {
    const auto place = quota.Take("a");
    ASSERT_TRUE(place.has_value());
    EXPECT_FALSE(quota.Take("b").has_value());
  }
  EXPECT_TRUE(quota.Take("b").has_value());
}

TEST(ClientQuota, LosesNoPlaceAmongThreads) {
  ClientQuota quota(10);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&quota, i] {
      for (int n = 0; n < 2000; ++n) quota.Take(std::to_string(i));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(TakeAll(quota, "a").size(), 5);
}

}  // namespace
}  // namespace kldiv::server
