#include "client/lent_memory.h"

#include <cassert>
#include <utility>

namespace kldiv::internal {

LentMemory::~LentMemory() { assert(all_returned()); }

grpc::Slice LentMemory::Lend(std::span<const uint8_t> bytes) {
  {
    const std::lock_guard lock(mu_);
    ++lent_;
  }
  // gRPC only reads what it sends; its interface has no const.
  return grpc::Slice(const_cast<uint8_t*>(bytes.data()), bytes.size(), &LentMemory::Return, this);
}

bool LentMemory::all_returned() const {
  const std::lock_guard lock(mu_);
  return lent_ == 0;
}

void LentMemory::WaitUntilReturned() {
  std::unique_lock lock(mu_);
  returned_.wait(lock, [this] { return lent_ == 0; });
}

void LentMemory::OnceReturned(std::function<void()> done) {
  {
    const std::lock_guard lock(mu_);
    if (lent_ > 0) {
      done_ = std::move(done);
      return;
    }
  }
  done();
}

void LentMemory::Return(void* lent_memory) {
  auto* const self = static_cast<LentMemory*>(lent_memory);
  std::function<void()> done;
  {
    const std::lock_guard lock(self->mu_);
    if (--self->lent_ > 0) return;
    done = std::move(self->done_);
    // Under the lock: whoever waits may destroy the object as soon as it is released.
    self->returned_.notify_all();
  }
  if (done) done();
}

}  // namespace kldiv::internal
