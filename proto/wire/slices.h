#ifndef KLDIV_PROTO_WIRE_SLICES_H_
#define KLDIV_PROTO_WIRE_SLICES_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace kldiv::wire {

// A message as the transport received it: pieces of memory, in order. Any of them may be empty.
using Slice = std::span<const uint8_t>;

// A run of bytes of a message. Owns nothing: the slices and their array outlive it.
struct ByteView {
  const Slice* first = nullptr;  // the slice in which the run begins; the next ones in the array continue it
  size_t offset = 0;             // of the first byte within *first
  size_t size = 0;               // bytes
};

// Walks over a ByteView. Not thread-safe; several cursors may walk over one view.
class ByteCursor {
 public:
  // Begins `position` bytes into the view, at most its size. Costs a step for each slice skipped.
  explicit ByteCursor(const ByteView& view, size_t position = 0)
      : slice_(view.first), offset_(view.offset), left_(view.size) {
    Skip(position);
  }

  size_t left() const { return left_; }

  // The bytes that lie together at the cursor; empty only at the end.
  Slice Contiguous() {
    if (left_ == 0) return {};
    while (offset_ == slice_->size()) {
      ++slice_;
      offset_ = 0;
    }
    const size_t here = slice_->size() - offset_;
    return {slice_->data() + offset_, here < left_ ? here : left_};
  }

  // Moves on by `bytes`, at most left().
  void Skip(size_t bytes) {
    left_ -= bytes;
    while (bytes > 0) {
      const size_t here = slice_->size() - offset_;
      if (bytes < here) {
        offset_ += bytes;
        return;
      }
      bytes -= here;
      ++slice_;
      offset_ = 0;
    }
  }

  // Copies the next `bytes`, at most left(), to `out` and moves on.
  void Copy(size_t bytes, void* out);

 private:
  const Slice* slice_;
  size_t offset_;  // within *slice_, at most its size
  size_t left_;
};

}  // namespace kldiv::wire

#endif  // KLDIV_PROTO_WIRE_SLICES_H_
