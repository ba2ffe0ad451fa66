#ifndef KLDIV_TESTS_CUDA_HOST_OPERATION_H_
#define KLDIV_TESTS_CUDA_HOST_OPERATION_H_

#include <cuda_runtime_api.h>

#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include "tests/cuda_host/sanitizer_hooks.h"

namespace kldiv::cuda_host {

class OperationRef;

// One thing that a stream does. Guarded by the runtime's mutex, apart from the marks.
struct Operation {
  int device = 0;
  std::function<cudaError_t()> execute;  // an error makes the device sticky; null does nothing
  std::vector<OperationRef> after;       // what has to be done first, besides the stream's own order
  bool done = false;
  double done_at_ms = 0;

  OrderMark enqueued;
  OrderMark finished;

  int references = 0;  // OperationRef's
};

// Shares an operation. Its count and its memory are unseen by ThreadSanitizer, which std::shared_ptr's would
// not be.
class OperationRef {
 public:
  OperationRef() = default;
  static OperationRef Make() {
    const ScopedUnseen unseen;
    return OperationRef(new Operation);
  }
  OperationRef(const OperationRef& other) : OperationRef(other.operation_) {}
  OperationRef(OperationRef&& other) noexcept : operation_(std::exchange(other.operation_, nullptr)) {}
  OperationRef& operator=(OperationRef other) noexcept {
    std::swap(operation_, other.operation_);
    return *this;
  }
  ~OperationRef() {
    if (operation_ == nullptr || __atomic_sub_fetch(&operation_->references, 1, __ATOMIC_ACQ_REL) > 0) return;
    const ScopedUnseen unseen;
    delete operation_;
  }

  Operation* operator->() const { return operation_; }
  Operation& operator*() const { return *operation_; }
  explicit operator bool() const { return operation_ != nullptr; }

 private:
  explicit OperationRef(Operation* operation) : operation_(operation) {
    if (operation_ != nullptr) __atomic_add_fetch(&operation_->references, 1, __ATOMIC_RELAXED);
  }
  Operation* operation_ = nullptr;
};

// A stream's operations, first in, first out. Guarded by the runtime's mutex.
struct Stream {
  Stream(int of_device, bool is_blocking) : device(of_device), blocking(is_blocking) {}

  const int device;
  const bool blocking;     // ordered with the device's null stream
  bool destroyed = false;  // by its owner: goes when its operations are done
  std::deque<OperationRef> pending;
  OperationRef last;
  TsanThread tsan;
};

struct Event {
  int device;
  bool timing;
  bool blocking_sync;     // whoever waits for it sleeps
  OperationRef recorded;  // null when it has never been recorded
};

}  // namespace kldiv::cuda_host

// The types behind cudaStream_t and cudaEvent_t.
struct CUstream_st : kldiv::cuda_host::Stream {
  using Stream::Stream;
};
struct CUevent_st : kldiv::cuda_host::Event {};

#endif  // KLDIV_TESTS_CUDA_HOST_OPERATION_H_
