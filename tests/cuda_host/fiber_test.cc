#include "tests/cuda_host/fiber.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace kldiv::cuda_host {
namespace {

// A fiber that adds its steps to a list, suspending between them.
struct Walker {
  Fiber fiber;
  std::vector<int> steps;
  int last_step = 0;

  void Start(int until) {
    last_step = until;
    fiber.Start(
        [](void* self) {
          auto* walker = static_cast<Walker*>(self);
          for (int step = 1; step <= walker->last_step; ++step) {
            walker->steps.push_back(step);
            if (step < walker->last_step) walker->fiber.Suspend();
          }
        },
        this, 0);
  }
};

TEST(Fiber, RunsUntilItSuspendsAndGoesOnWhereItWas) {
  Walker walker;
  walker.Start(3);
  EXPECT_TRUE(walker.steps.empty());
  walker.fiber.Resume();
  EXPECT_EQ(walker.steps, std::vector<int>({1}));
  walker.fiber.Resume();
  walker.fiber.Resume();
  EXPECT_EQ(walker.steps, std::vector<int>({1, 2, 3}));
}

TEST(Fiber, CanBeStartedAgainAfterItsEnd) {
  Walker walker;
  for (int round = 0; round < 3; ++round) {
    walker.steps.clear();
    walker.Start(1);
    walker.fiber.Resume();
    EXPECT_EQ(walker.steps, std::vector<int>({1}));
  }
}

TEST(Fiber, CanBeStartedAgainFromTheMiddle) {
  Walker walker;
  walker.Start(5);
  walker.fiber.Resume();
  walker.fiber.Resume();
  walker.steps.clear();
  walker.Start(2);
  walker.fiber.Resume();
  EXPECT_EQ(walker.steps, std::vector<int>({1}));
}

TEST(Fiber, GoesOnInAnotherThread) {
  Walker walker;
  walker.Start(3);
  walker.fiber.Resume();
  std::thread([&] { walker.fiber.Resume(); }).join();
  walker.fiber.Resume();
  EXPECT_EQ(walker.steps, std::vector<int>({1, 2, 3}));
}

TEST(Fiber, KeepsApartManyAtOnce) {
  std::vector<Walker> walkers(100);
  for (Walker& walker : walkers) walker.Start(10);
  for (int step = 0; step < 10; ++step) {
    for (Walker& walker : walkers) walker.fiber.Resume();
  }
  for (const Walker& walker : walkers) EXPECT_EQ(walker.steps.size(), 10u);
}

TEST(Fiber, KnowsItsStack) {
  struct Probe {
    Fiber fiber;
    bool inside = false;
  } probe;
  probe.fiber.Start(
      [](void* self) {
        auto* here = static_cast<Probe*>(self);
        int local = 0;
        here->inside = here->fiber.OnStack(&local);
      },
      &probe, 0);
  probe.fiber.Resume();
  EXPECT_TRUE(probe.inside);
  EXPECT_FALSE(probe.fiber.OnStack(&probe));
}

}  // namespace
}  // namespace kldiv::cuda_host
