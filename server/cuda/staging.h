#ifndef KLDIV_SERVER_CUDA_STAGING_H_
#define KLDIV_SERVER_CUDA_STAGING_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "server/cuda/tile_table.h"
#include "server/lanes/lane.h"

// How pieces lie in a lane's buffers, of which each has a twin on the device. The staging buffer:
//
//   x and t of every piece, each at a multiple of 32 bytes and zero up to the next
//   the table of tiles
//
// The result buffer:
//
//   the sums of the tiles, in the table's order
//   the pointwise losses of every piece that has any, each at a multiple of 32 bytes
//
// Thread-safe as far as the arguments are; knows no CUDA.
namespace kldiv::cuda {

struct BufferSizes {
  int64_t staging_bytes = 0;
  int64_t result_bytes = 0;
};

// Buffers in which a batch of `max_batch_bytes` >= 1 of tensors is evaluated in one round, if it is made of
// few pieces and its pointwise losses have the dtype of both its tensors; and in which any tile fits.
BufferSizes BufferSizesFor(int64_t max_batch_bytes);

// The next tile to be evaluated of a list of pieces. Begins at the first; at the end when piece is their
// number.
struct Cursor {
  size_t piece = 0;
  int64_t tile = 0;  // within the piece
};

// What one launch evaluates: pieces, of which the first and the last may be parts of longer ones.
class Round {
 public:
  Round() = default;
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

  // Becomes as many tiles as fit into buffers of `sizes`, from the cursor on, and moves it. At least one,
  // while there are any. The pieces outlive the round's use.
  void Plan(std::span<const server::Piece> pieces, const BufferSizes& sizes, Cursor& cursor);

  // Copies the tensors and writes the table: staging_bytes() at `staging`, which is at a multiple of 32.
  //
  // INTERNAL when the kernel would leave the buffers, which is an error of the program.
  absl::Status Gather(uint8_t* staging) const;

  // Copies the results to where the pieces want them.
  void Scatter(const uint8_t* results) const;

  int64_t tile_count() const { return tile_count_; }
  int64_t table_offset() const { return tensor_bytes_; }  // bytes into the staging buffer
  int64_t staging_bytes() const { return tensor_bytes_ + tile_count_ * int64_t{sizeof(Tile)}; }
  int64_t pointwise_offset() const { return RoundUpToUnit(tile_count_ * int64_t{sizeof(double)}); }
  int64_t result_bytes() const { return pointwise_offset() + pointwise_bytes_; }

 private:
  // Consecutive tiles of a pair, and where their bytes lie.
  struct Part {
    const server::LanePair* pair;
    int64_t first_tile;
    int64_t tile_count;
    int64_t elements;
    int64_t input_offset;
    int64_t target_offset;
    int64_t pointwise_offset;  // from the beginning of the pointwise losses
  };

  // How many tiles of the piece, from `first` on, fit beside what is there.
  int64_t TilesThatFit(const server::Piece& piece, int64_t first, const BufferSizes& sizes) const;
  bool Fits(int64_t tensor_bytes, int64_t tiles, int64_t pointwise_bytes, const BufferSizes& sizes) const;
  void Add(const server::LanePair& pair, int64_t first_tile, int64_t tile_count);

  std::vector<Part> parts_;
  int64_t tile_count_ = 0;
  int64_t tensor_bytes_ = 0;
  int64_t pointwise_bytes_ = 0;
};

}  // namespace kldiv::cuda

#endif  // KLDIV_SERVER_CUDA_STAGING_H_
