#include "client/load/recorder.h"

#include <algorithm>

namespace kldiv::load {
namespace {

constexpr int kMaxShards = 8;  // Each has a megabyte of histograms.

}  // namespace

void Totals::Merge(const Totals& other) {
  calls += other.calls;
  ok += other.ok;
  wrong += other.wrong;
  wrong_before += other.wrong_before;
  due += other.due;
  late_starts += other.late_starts;
  for (const auto& [code, count] : other.errors) errors[code] += count;
  error_texts.insert(other.error_texts.begin(), other.error_texts.end());
  if (wrong_text.empty()) wrong_text = other.wrong_text;
  latency.Merge(other.latency);
  start_delay.Merge(other.start_delay);
  queue.Merge(other.queue);
  compute.Merge(other.compute);
  answered += other.answered;
  answered_pairs += other.answered_pairs;
  answered_bytes += other.answered_bytes;
}

void Window::Merge(const Window& other) {
  offered += other.offered;
  ok += other.ok;
  wrong += other.wrong;
  errors += other.errors;
  latency.Merge(other.latency);
}

Recorder::Recorder(Time begin, Duration window, int connections) : begin_(begin), window_(window) {
  const int shards = std::clamp(connections, 1, kMaxShards);
  for (int i = 0; i < shards; ++i) shards_.push_back(std::make_unique<Shard>());
}

int64_t Recorder::WindowAt(Time time) const {
  const int64_t offset = Duration(time - begin_).count();
  const int64_t index = offset / window_.count();
  return offset % window_.count() < 0 ? index - 1 : index;
}

Window& Recorder::WindowOf(Shard& shard, Time time) const {
  const int64_t index = std::max(WindowAt(time), shard.first_window);
  auto at = shard.windows.end();
  while (at != shard.windows.begin() && (*std::prev(at))->index >= index) --at;
  if (at == shard.windows.end() || (*at)->index != index) {
    at = shard.windows.insert(at, std::make_unique<Window>());
    (*at)->index = index;
  }
  return **at;
}

void Recorder::RecordStart(int connection, Time due, Time started) {
  Shard& shard = ShardOf(connection);
  const std::lock_guard lock(shard.mu);
  ++WindowOf(shard, due).offered;
  if (due < begin_) return;
  ++shard.totals.due;
  if (started - due > kLateStart) ++shard.totals.late_starts;
  shard.totals.start_delay.Record(Duration(started - due).count());
}

void Recorder::RecordEnd(const CallRecord& call) {
  const int64_t latency = Duration(call.ended - call.due).count();
  const bool ok = call.code == absl::StatusCode::kOk && !call.wrong;
  Shard& shard = ShardOf(call.connection);
  const std::lock_guard lock(shard.mu);
  Window& window = WindowOf(shard, call.ended);
  if (ok) {
    ++window.ok;
    window.latency.Record(latency);
  } else {
    ++(call.wrong ? window.wrong : window.errors);
  }
  Totals& totals = shard.totals;
  if (ok && call.ended >= begin_ && call.ended < end_.load()) {
    ++totals.answered;
    totals.answered_pairs += static_cast<uint64_t>(call.pairs);
    totals.answered_bytes += call.bytes;
  }
  if (call.wrong && totals.wrong_text.empty()) totals.wrong_text = call.text;
  if (call.due < begin_) {
    if (call.wrong) ++totals.wrong_before;
    return;
  }
  shard.last_end = std::max(shard.last_end, call.ended);
  ++totals.calls;
  if (call.wrong) {
    ++totals.wrong;
  } else if (!ok) {
    ++totals.errors[call.code];
    totals.error_texts.emplace(call.code, call.text);
  } else {
    ++totals.ok;
    totals.latency.Record(latency);
    if (call.queue.has_value()) totals.queue.Record(call.queue->count());
    if (call.compute.has_value()) totals.compute.Record(call.compute->count());
  }
}

std::vector<Window> Recorder::TakeWindows(int64_t index) {
  std::map<int64_t, Window> taken;
  for (const std::unique_ptr<Shard>& shard : shards_) {
    std::vector<std::unique_ptr<Window>> windows;
    {
      const std::lock_guard lock(shard->mu);
      shard->first_window = index;
      while (!shard->windows.empty() && shard->windows.front()->index < index) {
        windows.push_back(std::move(shard->windows.front()));
        shard->windows.pop_front();
      }
    }
    for (const std::unique_ptr<Window>& window : windows) {
      const auto [at, is_new] = taken.try_emplace(window->index);
      at->second.index = window->index;
      at->second.Merge(*window);
    }
  }
  std::vector<Window> result;
  if (next_window_ == INT64_MIN) next_window_ = taken.empty() ? index : std::min(taken.begin()->first, index);
  for (; next_window_ < index; ++next_window_) {
    Window& window = taken[next_window_];
    window.index = next_window_;
    result.push_back(std::move(window));
  }
  return result;
}

Totals Recorder::totals() const {
  Totals sum;
  for (const std::unique_ptr<Shard>& shard : shards_) {
    const std::lock_guard lock(shard->mu);
    sum.Merge(shard->totals);
  }
  return sum;
}

Time Recorder::last_end() const {
  Time last = begin_;
  for (const std::unique_ptr<Shard>& shard : shards_) {
    const std::lock_guard lock(shard->mu);
    last = std::max(last, shard->last_end);
  }
  return last;
}

}  // namespace kldiv::load
