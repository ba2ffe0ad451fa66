#include "server/rpc/budget_queue.h"

#include <utility>

namespace kldiv::server {

void BudgetQueue::Join(std::shared_ptr<Waiter> waiter) {
  MutexLock lock(mu_);
  waiting_.push_back(std::move(waiter));
  joined_.fetch_add(1);
}

void BudgetQueue::Feed() {
  if (joined_.load() == 0) return;
  {
    MutexLock lock(mu_);
    again_ = true;
    if (feeding_) return;  // Whoever feeds sees again_.
    feeding_ = true;
  }
  for (;;) {
    std::shared_ptr<Waiter> next;
    {
      MutexLock lock(mu_);
      if (waiting_.empty() || !again_) {
        feeding_ = false;
        return;
      }
      next = std::move(waiting_.front());
      waiting_.pop_front();
      again_ = false;
    }
    const bool fed = next->OnBudget();
    MutexLock lock(mu_);
    if (fed) {
      joined_.fetch_sub(1);
      again_ = true;  // There may be more for the next one.
    } else {
      waiting_.push_front(std::move(next));
    }
  }
}

}  // namespace kldiv::server
