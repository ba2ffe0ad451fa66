#include "client/load/generator.h"

#include <bit>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/tool/output.h"

namespace kldiv::load {
namespace {

// What is wrong with a wrong answer, for a person.
std::string WrongText(const Item& item, const Evaluation& evaluation) {
  const std::string shape = absl::StrJoin(item.pair.input.shape, "x");
  if (!evaluation.loss.has_value() || item.pair.reduction == Reduction::kNone) {
    return absl::StrCat("a pair of shape ", shape, ": the losses of its elements are not the right ones");
  }
  const double expected = std::bit_cast<double>(item.loss_bits);
  return absl::StrCat("a pair of shape ", shape, ": loss ", tool::FormatLoss(*evaluation.loss), " of ",
                      evaluation.element_count, " elements, expected ", tool::FormatLoss(expected), " of ",
                      item.elements);
}

}  // namespace

bool Generator::MayStart(Time due) {
  if (due >= limits_.end) return false;
  return due < rig_.recorder.begin() || measured_.fetch_add(1) < limits_.calls;
}

void Generator::StartCall(Call& call, uint64_t index, Time due) {
  call.due = due;
  call.connection = static_cast<int>(index % static_cast<uint64_t>(rig_.target.connections()));
  call.items.clear();
  call.pairs.clear();
  for (int i = 0; i < pairs_per_call_; ++i) {
    const Item& item =
        rig_.workload.At(index * static_cast<uint64_t>(pairs_per_call_) + static_cast<uint64_t>(i));
    call.items.push_back(&item);
    call.pairs.push_back(item.pair);
  }
  ++under_way_;
  rig_.recorder.RecordStart(call.connection, due, rig_.clock.Now());
  rig_.target.Start(
      call.connection, call.pairs,
      [this, &call](const absl::Status& status, std::span<const absl::StatusOr<Evaluation>> answers) {
        Finish(call, status, answers);
      });
}

void Generator::Finish(Call& call, const absl::Status& status,
                       std::span<const absl::StatusOr<Evaluation>> answers) {
  CallRecord record;
  record.connection = call.connection;
  record.due = call.due;
  record.ended = rig_.clock.Now();
  const auto fail = [&record](const absl::Status& error) {
    if (record.code != absl::StatusCode::kOk) return;
    record.code = error.code();
    record.text = std::string(error.message());
  };
  if (!status.ok()) fail(status);
  for (size_t i = 0; i < answers.size(); ++i) {
    const Item& item = *call.items[i];
    if (!answers[i].ok()) {
      fail(answers[i].status());
    } else if (!rig_.workload.IsRight(item, *answers[i])) {
      record.wrong = true;
      record.text = WrongText(item, *answers[i]);
    } else {
      ++record.pairs;
      record.bytes += item.bytes;
      if (answers[i]->timing.has_value()) {
        record.queue = answers[i]->timing->queue;
        record.compute = answers[i]->timing->compute;
      }
    }
  }
  rig_.recorder.RecordEnd(record);
  Ended(call, record.code);
  --under_way_;
}

ClosedLoop::ClosedLoop(Rig rig, Limits limits, int pairs_per_call, int concurrency)
    : Generator(rig, limits, pairs_per_call) {
  for (int i = 0; i < concurrency; ++i) slots_.push_back(std::make_unique<Slot>());
}

void ClosedLoop::Start() {
  for (const std::unique_ptr<Slot>& slot : slots_) {
    if (MayGoOn(*slot)) RunSlot(*slot);
  }
}

bool ClosedLoop::MayGoOn(Slot& slot) {
  const Time now = rig().clock.Now();
  if (!stopped_ && slot.failed) {
    slot.failed = false;
    const std::lock_guard lock(mu_);
    paused_.push_back({&slot, now + kPause});
    return false;
  }
  if (!stopped_ && MayStart(now)) return true;
  ++resting_;
  return false;
}

void ClosedLoop::RunSlot(Slot& slot) {
  do {
    slot.state = Slot::kStarting;
    StartCall(slot, next_++, rig().clock.Now());
    // A call that has ended by now leaves the next one to this thread, else the stack would grow with each.
    if (slot.state.exchange(Slot::kStarted) != Slot::kEnded) return;
  } while (MayGoOn(slot));
}

void ClosedLoop::Ended(Call& call, absl::StatusCode code) {
  auto& slot = static_cast<Slot&>(call);
  slot.failed = code == absl::StatusCode::kUnavailable;
  if (slot.state.exchange(Slot::kEnded) == Slot::kStarted && MayGoOn(slot)) RunSlot(slot);
}

void ClosedLoop::Tend() {
  const Time now = rig().clock.Now();
  std::vector<Slot*> due;
  {
    const std::lock_guard lock(mu_);
    while (due.size() < paused_.size() && (stopped_ || paused_[due.size()].until <= now)) {
      due.push_back(paused_[due.size()].slot);
    }
    paused_.erase(paused_.begin(), paused_.begin() + static_cast<ptrdiff_t>(due.size()));
  }
  for (Slot* const slot : due) {
    if (MayGoOn(*slot)) RunSlot(*slot);
  }
}

void ClosedLoop::Stop() {
  stopped_ = true;
  Tend();
}

}  // namespace kldiv::load
