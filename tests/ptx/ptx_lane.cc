#include "tests/ptx/ptx_lane.h"

#include <vector>

#include "server/cuda/tile_table.h"
#include "tests/ptx/executor.h"

namespace kldiv::ptx {
namespace {

constexpr uint32_t kThreads = 256;  // of the kernel's blocks: a warp to a tile
constexpr uint32_t kTilesPerBlock = kThreads / 32;
constexpr size_t kAlignment = 256;  // cudaMalloc's

// Memory as the device's, filled with what no result is.
class AlignedBytes {
 public:
  explicit AlignedBytes(size_t bytes) : storage_(bytes + kAlignment, 0xff) {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    begin_ = storage_.data() + (kAlignment - address % kAlignment) % kAlignment;
  }
  uint8_t* begin() const { return begin_; }

 private:
  std::vector<uint8_t> storage_;
  uint8_t* begin_;
};

uint64_t Address(const uint8_t* begin) { return reinterpret_cast<uintptr_t>(begin); }

}  // namespace

absl::Status PtxLane::Run(std::span<const server::Piece> pieces) {
  cuda::Cursor cursor;
  while (cursor.piece < pieces.size()) {
    cuda::Round round;
    round.Plan(pieces, sizes_, cursor);
    if (absl::Status status = Evaluate(round); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status PtxLane::Evaluate(const cuda::Round& round) {
  const AlignedBytes staging(static_cast<size_t>(round.staging_bytes()));
  const AlignedBytes results(static_cast<size_t>(round.result_bytes()));
  if (absl::Status status = round.Gather(staging.begin()); !status.ok()) return status;

  // The tensors, the table, the sums and the losses are buffers of their own: a step from one into another
  // fails.
  uint8_t* table = staging.begin() + round.table_offset();
  uint8_t* losses = results.begin() + round.pointwise_offset();
  const auto tiles = static_cast<size_t>(round.tile_count());
  Launch launch;
  launch.kernel = "KlTiles";
  launch.blocks = static_cast<uint32_t>((tiles + kTilesPerBlock - 1) / kTilesPerBlock);
  launch.threads = kThreads;
  launch.arguments = {Address(staging.begin()), Address(table), tiles, Address(results.begin()),
                      Address(losses)};
  launch.buffers = {{staging.begin(), static_cast<size_t>(round.table_offset()), false},
                    {table, tiles * sizeof(cuda::Tile), false},
                    {results.begin(), tiles * sizeof(double), true},
                    {losses, static_cast<size_t>(round.result_bytes() - round.pointwise_offset()), true}};
  launch.seed = seed_++;
  if (absl::Status status = Execute(module_, launch); !status.ok()) return status;
  round.Scatter(results.begin());
  return absl::OkStatus();
}

}  // namespace kldiv::ptx
