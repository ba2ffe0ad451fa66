#include "client/load/open_loop.h"

#include <utility>

namespace kldiv::load {

OpenLoop::OpenLoop(Rig rig, Limits limits, int pairs_per_call, Time first, Schedule schedule, int threads,
                   int64_t max_under_way)
    : Generator(rig, limits, pairs_per_call),
      first_(first),
      threads_(threads),
      max_under_way_(max_under_way),
      issuing_(threads),
      schedule_(std::move(schedule)) {}

OpenLoop::~OpenLoop() {
  Stop();
  for (std::thread& issuer : issuers_) issuer.join();
}

void OpenLoop::Start() {
  for (int i = 0; i < threads_; ++i) {
    issuers_.emplace_back([this] {
      WakeOnTime();
      Issue();
    });
  }
}

void OpenLoop::Stop() {
  stop_.request_stop();
  const std::lock_guard lock(calls_mu_);
  room_.notify_all();
}

void OpenLoop::Issue() {
  while (const std::optional<Arrival> arrival = NextArrival()) {
    rig().clock.SleepUntil(arrival->due, stop_.get_token());
    Call* const call = TakeCall();
    if (call == nullptr) break;
    StartCall(*call, arrival->index, arrival->due);
  }
  --issuing_;
}

std::optional<OpenLoop::Arrival> OpenLoop::NextArrival() {
  const std::lock_guard lock(schedule_mu_);
  const Time due = first_ + schedule_.Next();
  if (stop_.stop_requested() || !MayStart(due)) return std::nullopt;
  return Arrival{next_++, due};
}

Generator::Call* OpenLoop::TakeCall() {
  std::unique_lock lock(calls_mu_);
  const auto has_room = [this] {
    return !free_.empty() || static_cast<int64_t>(calls_.size()) < max_under_way_;
  };
  room_.wait(lock, [&] { return stop_.stop_requested() || has_room(); });
  if (stop_.stop_requested()) return nullptr;
  if (free_.empty()) return calls_.emplace_back(std::make_unique<Call>()).get();
  Call* const call = free_.back();
  free_.pop_back();
  return call;
}

void OpenLoop::Ended(Call& call, absl::StatusCode) {
  const std::lock_guard lock(calls_mu_);
  free_.push_back(&call);
  room_.notify_one();
}

}  // namespace kldiv::load
