#include "server/rpc/grpc_message.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>

#include <utility>

#include "absl/container/inlined_vector.h"

namespace kldiv::server {
namespace {

// Small messages come in one to three slices.
constexpr size_t kInlineSlices = 4;

class ByteBufferHolder final : public Message::Holder {
 public:
  explicit ByteBufferHolder(grpc_byte_buffer* buffer) : buffer_(buffer) {
    // Short slices keep their bytes inside the buffer's array, which stays where it is until it is destroyed.
    const grpc_slice_buffer& raw = buffer->data.raw.slice_buffer;
    slices_.reserve(raw.count);
    for (size_t i = 0; i < raw.count; ++i) {
      const grpc_slice& slice = raw.slices[i];
      slices_.emplace_back(GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
    }
  }
  ~ByteBufferHolder() override { grpc_byte_buffer_destroy(buffer_); }

  ByteBufferHolder(const ByteBufferHolder&) = delete;
  ByteBufferHolder& operator=(const ByteBufferHolder&) = delete;

  std::span<const wire::Slice> slices() const { return slices_; }
  size_t size() const { return buffer_->data.raw.slice_buffer.length; }

 private:
  grpc_byte_buffer* const buffer_;
  absl::InlinedVector<wire::Slice, kInlineSlices> slices_;
};

void DeleteBytes(void* bytes) { delete[] static_cast<uint8_t*>(bytes); }

// A slice over `bytes`, which lie in `memory` and go with it.
grpc_slice OwningSlice(wire::Slice bytes, std::unique_ptr<uint8_t[]> memory) {
  uint8_t* const owned = memory.release();
  return grpc_slice_new_with_user_data(const_cast<uint8_t*>(bytes.data()), bytes.size(), DeleteBytes, owned);
}

}  // namespace

bool IsCompressed(const grpc_byte_buffer& buffer) {
  return buffer.data.raw.compression != GRPC_COMPRESS_NONE;
}

Message MessageFromByteBuffer(grpc_byte_buffer* buffer) {
  auto holder = std::make_unique<ByteBufferHolder>(buffer);
  const std::span<const wire::Slice> slices = holder->slices();
  const size_t size = holder->size();
  return Message(slices, size, std::move(holder));
}

grpc_byte_buffer* ByteBufferFromAnswer(Answer answer) {
  const std::string& owned = answer.parts.owned;
  absl::InlinedVector<grpc_slice, 3> slices;
  size_t sent = 0;
  const auto send_owned = [&](size_t end) {
    if (end > sent) slices.push_back(grpc_slice_from_copied_buffer(owned.data() + sent, end - sent));
    sent = end;
  };
  for (const wire::Parts::Reference& reference : answer.parts.references) {
    send_owned(reference.after);
    slices.push_back(OwningSlice(reference.bytes, std::move(answer.memory[reference.tag])));
  }
  send_owned(owned.size());
  grpc_byte_buffer* const buffer = grpc_raw_byte_buffer_create(slices.data(), slices.size());
  for (const grpc_slice& slice : slices) grpc_slice_unref(slice);
  return buffer;
}

}  // namespace kldiv::server
