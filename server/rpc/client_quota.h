#ifndef KLDIV_SERVER_RPC_CLIENT_QUOTA_H_
#define KLDIV_SERVER_RPC_CLIENT_QUOTA_H_

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "server/base/mutex.h"

namespace kldiv::server {

// Places that no few clients can take from all others: a client gets one more while it has fewer than are
// free. So one alone gets half of them, the next one half of the rest, and so on.
//
// Thread-safe. Outlives its places.
class ClientQuota {
 public:
  // Gives its place back when it is destroyed. Move-only.
  class Place {
   public:
    Place(Place&& other) noexcept
        : quota_(std::exchange(other.quota_, nullptr)), client_(std::move(other.client_)) {}
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (quota_ != nullptr) quota_->GiveBack(client_);
    }

   private:
    friend class ClientQuota;
    Place(ClientQuota& quota, std::string client) : quota_(&quota), client_(std::move(client)) {}

    ClientQuota* quota_;
    std::string client_;
  };

  explicit ClientQuota(int64_t places) : free_(places) {}

  // nullopt: this client gets none now.
  std::optional<Place> Take(const std::string& client) {
    MutexLock lock(mu_);
    int64_t& held = held_[client];
    if (held < free_) {
      ++held;
      --free_;
      return Place(*this, client);
    }
    if (held == 0) held_.erase(client);
    return std::nullopt;
  }

 private:
  void GiveBack(const std::string& client) {
    MutexLock lock(mu_);
    ++free_;
    const auto entry = held_.find(client);
    if (--entry->second == 0) held_.erase(entry);
  }

  Mutex mu_;
  int64_t free_ KLDIV_GUARDED_BY(mu_);
  std::unordered_map<std::string, int64_t> held_ KLDIV_GUARDED_BY(mu_);  // by client, more than 0
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_CLIENT_QUOTA_H_
