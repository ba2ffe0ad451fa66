#ifndef KLDIV_TESTS_TESTING_COLLECTING_TASK_H_
#define KLDIV_TESTS_TESTING_COLLECTING_TASK_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/base/mutex.h"
#include "server/batching/task.h"
#include "tests/testing/patience.h"

namespace kldiv::testing {

// A task that hands itself to a function when it is done.
class CallbackTask final : public server::Task {
 public:
  using OnDone = std::function<void(std::unique_ptr<server::Task>)>;

  // Of pairs that outlive it.
  CallbackTask(const std::vector<const wire::Pair*>& pairs, std::string flow, OnDone on_done)
      : Task(pairs.size(), std::move(flow)), on_done_(std::move(on_done)) {
    for (size_t i = 0; i < pairs.size(); ++i) this->pairs()[i].lane.pair = pairs[i];
  }

  void Done(std::unique_ptr<server::Task> self) override {
    const OnDone on_done = std::move(on_done_);  // it may destroy the task
    on_done(std::move(self));
  }

 private:
  OnDone on_done_;
};

// The tasks that are done, in the order of their ends. Thread-safe; outlives its tasks' Done.
class DoneTasks {
 public:
  // A task that comes here when it is done.
  std::unique_ptr<server::Task> Make(const std::vector<const wire::Pair*>& pairs, std::string flow = "flow") {
    return std::make_unique<CallbackTask>(
        pairs, std::move(flow), [this](std::unique_ptr<server::Task> task) { Add(std::move(task)); });
  }

  // Are `count` tasks done, now or soon?
  bool WaitFor(size_t count) {
    const auto end = PatienceEnd();
    server::MutexLock lock(mu_);
    while (tasks_.size() < count) {
      if (!changed_.WaitUntil(mu_, end)) return false;
    }
    return true;
  }

  size_t size() const {
    server::MutexLock lock(mu_);
    return tasks_.size();
  }

  // The index-th that was done; it stays here.
  server::Task& at(size_t index) {
    server::MutexLock lock(mu_);
    return *tasks_.at(index);
  }

 private:
  void Add(std::unique_ptr<server::Task> task) {
    server::MutexLock lock(mu_);
    tasks_.push_back(std::move(task));
    changed_.NotifyAll();
  }

  mutable server::Mutex mu_;
  server::CondVar changed_;
  std::vector<std::unique_ptr<server::Task>> tasks_ KLDIV_GUARDED_BY(mu_);
};

}  // namespace kldiv::testing

#endif  // KLDIV_TESTS_TESTING_COLLECTING_TASK_H_
