#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "client/include/kldiv/client.h"
#include "tests/bench/client/load.h"

namespace kldiv::bench {
namespace {

// Starts a call whenever one ends. Thread-safe: each client calls back on a thread of its own.
class LibraryLoop {
 public:
  LibraryLoop(const Request& request, const AnswerCheck& check, Results& results)
      : shape_{static_cast<int64_t>(request.input().size())}, check_(check), results_(results) {
    pair_.input = {request.input(), shape_};
    pair_.target = {request.target(), shape_};
    pair_.reduction = Reduction::kSum;
  }

  void Start(Client& client) {
    {
      const std::lock_guard lock(mu_);
      ++under_way_;
    }
    Call(client);
  }

  std::string Wait() {
    std::unique_lock lock(mu_);
    none_.wait(lock, [this] { return under_way_ == 0; });
    return failure_;
  }

 private:
  void Call(Client& client) {
    const Clock::time_point start = Clock::now();
    client.EvaluateAsync(pair_, {}, [this, &client, start](const absl::StatusOr<Evaluation>& answer) {
      if (OnEnd(start, answer)) Call(client);
    });
  }

  // Does it go on?
  bool OnEnd(Clock::time_point start, const absl::StatusOr<Evaluation>& answer) {
    const Clock::time_point now = Clock::now();
    std::string wrong = answer.ok() ? check_.CheckLoss(answer->loss.value()) : answer.status().ToString();
    const std::lock_guard lock(mu_);
    if (!wrong.empty()) failure_ = std::move(wrong);
    results_.Answered(start, now);
    if (failure_.empty() && !results_.Over(now)) return true;
    if (--under_way_ == 0) none_.notify_all();
    return false;
  }

  const std::vector<int64_t> shape_;
  Pair pair_;
  const AnswerCheck& check_;

  std::mutex mu_;  // guards what follows
  std::condition_variable none_;
  Results& results_;
  int under_way_ = 0;
  std::string failure_;
};

}  // namespace

std::string RunLibrary(const Load& load, const Request& request, const AnswerCheck& check, Results& results) {
  std::vector<std::unique_ptr<Client>> clients;
  LibraryLoop loop(request, check, results);
  for (int i = 0; i < load.channels; ++i) {
    absl::StatusOr<std::unique_ptr<Client>> client = Client::Create({.server = load.server});
    if (!client.ok()) return client.status().ToString();
    clients.push_back(*std::move(client));
  }
  for (int i = 0; i < load.outstanding; ++i) loop.Start(*clients[static_cast<size_t>(i % load.channels)]);
  return loop.Wait();
}

}  // namespace kldiv::bench
