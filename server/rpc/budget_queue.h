#ifndef KLDIV_SERVER_RPC_BUDGET_QUEUE_H_
#define KLDIV_SERVER_RPC_BUDGET_QUEUE_H_

#include <atomic>
#include <deque>
#include <memory>

#include "server/base/mutex.h"

namespace kldiv::server {

// Those who wait for room in the queue's budget, first come, first served. Thread-safe.
class BudgetQueue {
 public:
  class Waiter {
   public:
    virtual ~Waiter() = default;
    // Goes on with what it waits for. True: it waits no longer. False: there is still no room.
    // Called by one thread at a time, with no lock held; may join the queue anew.
    virtual bool OnBudget() = 0;
  };

  // Not while it waits already. Budget that came back just before is noticed by the next Feed, so that one
  // has to come now and then in any case.
  void Join(std::shared_ptr<Waiter> waiter);

  // Budget has been given back: lets them go on, in order, until one still finds no room. With no lock held.
  void Feed();

 private:
  Mutex mu_;
  std::deque<std::shared_ptr<Waiter>> waiting_ KLDIV_GUARDED_BY(mu_);
  bool feeding_ KLDIV_GUARDED_BY(mu_) = false;
  bool again_ KLDIV_GUARDED_BY(mu_) = false;  // more came back while one was being fed
  std::atomic<int> joined_ = 0;               // so that Feed costs nothing while nobody waits
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_BUDGET_QUEUE_H_
