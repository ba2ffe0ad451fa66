#ifndef KLDIV_SERVER_RPC_CALL_REGISTRY_H_
#define KLDIV_SERVER_RPC_CALL_REGISTRY_H_

#include <atomic>
#include <deque>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "server/base/mutex.h"

namespace kldiv::server {

// Long calls that are open, so that all of them can be told something. Thread-safe.
template <class State>
class CallRegistry {
 public:
  // Returns how many are open now.
  size_t Add(std::shared_ptr<State> call) {
    MutexLock lock(mu_);
    State* const key = call.get();
    calls_.emplace(key, std::move(call));
    return calls_.size();
  }

  void Remove(State* call) {
    MutexLock lock(mu_);
    calls_.erase(call);
  }

  std::vector<std::shared_ptr<State>> All() const {
    MutexLock lock(mu_);
    std::vector<std::shared_ptr<State>> all;
    all.reserve(calls_.size());
    for (const auto& [key, call] : calls_) all.push_back(call);
    return all;
  }

 private:
  mutable Mutex mu_;
  std::unordered_map<State*, std::shared_ptr<State>> calls_ KLDIV_GUARDED_BY(mu_);
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_CALL_REGISTRY_H_
