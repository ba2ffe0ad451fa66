#ifndef KLDIV_CLIENT_LENT_MEMORY_H_
#define KLDIV_CLIENT_LENT_MEMORY_H_

#include <grpcpp/support/slice.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>

namespace kldiv::internal {

// Memory that gRPC reads in place, and the knowledge of when it no longer does. gRPC may hold a message's
// slices longer than the call that sends it: a socket that takes no data keeps what is being written to it.
//
// Thread-safe. Everything has been returned when it is destroyed.
class LentMemory {
 public:
  LentMemory() = default;
  ~LentMemory();

  LentMemory(const LentMemory&) = delete;
  LentMemory& operator=(const LentMemory&) = delete;

  // A slice over `bytes`, at least one, which count as lent until its last copy is gone.
  grpc::Slice Lend(std::span<const uint8_t> bytes);

  bool all_returned() const;

  // Waits until everything has been returned. Some thread has to drive gRPC meanwhile.
  void WaitUntilReturned();

  // Has `done` called once when everything has been returned, on the thread that returned it, which is inside
  // gRPC; at once when nothing is lent. Nothing is lent after this. `done` may destroy this object.
  void OnceReturned(std::function<void()> done);

 private:
  static void Return(void* lent_memory);

  mutable std::mutex mu_;
  std::condition_variable returned_;
  // Guarded by mu_.
  size_t lent_ = 0;  // slices
  std::function<void()> done_;
};

}  // namespace kldiv::internal

#endif  // KLDIV_CLIENT_LENT_MEMORY_H_
