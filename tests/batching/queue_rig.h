#ifndef KLDIV_TESTS_BATCHING_QUEUE_RIG_H_
#define KLDIV_TESTS_BATCHING_QUEUE_RIG_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/batching/batch_queue.h"
#include "server/batching/task.h"
#include "server/numerics/formula.h"
#include "tests/testing/collecting_task.h"

namespace kldiv::server {

// FP32 pairs: a tile of both tensors is 8 KiB.
inline constexpr int64_t kTileBytes = 8 * numerics::kTileElements;

// A queue, tasks without tensors to put into it, and what it hands out as text.
class QueueRig {
 public:
  QueueRig() = default;

  // A task of a flow, with pairs of these many elements; it is called by its flow and a number: "a0", "a1".
  Task& Push(const std::string& flow, const std::vector<int64_t>& elements,
             Clock::time_point deadline = Clock::time_point::max()) {
    std::vector<const wire::Pair*> pairs;
    for (const int64_t count : elements) {
      tensors_.push_back({numerics::Formula(), count, {}, {}});
      pairs.push_back(&tensors_.back());
    }
    tasks_.push_back(std::make_unique<testing::CallbackTask>(pairs, flow, nullptr));
    Task& task = *tasks_.back();
    names_[&task] = absl::StrCat(flow, counts_[flow]++);
    for (TaskPair& pair : task.pairs()) pair.deadline = deadline;
    task.Begin(now_);
    queue_.Push(task);
    return task;
  }

  // The same, in tiles.
  Task& PushTiles(const std::string& flow, std::vector<int64_t> tiles) {
    for (int64_t& count : tiles) count *= numerics::kTileElements;
    return Push(flow, tiles);
  }

  Batch Take(int64_t max_tiles, int lanes = 1) {
    Batch batch;
    queue_.Take({LaneKind::kCpu, max_tiles * kTileBytes, lanes}, now_, batch);
    return batch;
  }

  // A batch as "a0.0[0,8) b0.2[0,1)": task, pair, tiles. Then what was dropped: "expired a0.1 cancelled
  // b1.0-2".
  std::string Text(const Batch& batch) {
    std::vector<std::string> words;
    for (size_t i = 0; i < batch.pieces.size(); ++i) {
      const Piece& piece = batch.pieces[i];
      const auto& [task, pair] = batch.parts[i];
      words.push_back(absl::StrCat(names_[task], ".", pair - task->pairs().data(), "[", piece.first_tile, ",",
                                   piece.first_tile + piece.tile_count, ")"));
    }
    for (const Batch::Dropped& dropped : batch.dropped) {
      constexpr const char* kReasons[] = {"empty", "expired", "cancelled"};
      const size_t last = dropped.first_pair + dropped.pairs - 1;
      words.push_back(absl::StrCat(kReasons[static_cast<int>(dropped.reason)], " ", names_[dropped.task], ".",
                                   dropped.first_pair,
                                   last > dropped.first_pair ? absl::StrCat("-", last) : std::string()));
    }
    return absl::StrJoin(words, " ");
  }
  std::string TakeText(int64_t max_tiles, int lanes = 1) { return Text(Take(max_tiles, lanes)); }

  // Tiles of each batch until nothing waits.
  std::vector<int64_t> TileCounts(int64_t max_tiles, int lanes) {
    std::vector<int64_t> counts;
    while (queue_.HasWork(LaneKind::kCpu)) counts.push_back(Take(max_tiles, lanes).bytes / kTileBytes);
    return counts;
  }

  BatchQueue& queue() { return queue_; }
  Clock::time_point now() const { return now_; }
  void Pass(Clock::duration duration) { now_ += duration; }

 private:
  BatchQueue queue_;
  Clock::time_point now_ = Clock::time_point(std::chrono::hours(1));
  std::deque<wire::Pair> tensors_;
  std::vector<std::unique_ptr<Task>> tasks_;
  std::map<const Task*, std::string> names_;
  std::map<std::string, int> counts_;
};

}  // namespace kldiv::server

#endif  // KLDIV_TESTS_BATCHING_QUEUE_RIG_H_
