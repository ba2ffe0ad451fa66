#include "server/rpc/status_texts.h"

#include <atomic>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace kldiv::server {
namespace {

// The distribution's absl::string_view is a type of its own.
absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

absl::Status UnknownMethod(std::string_view path) {
  constexpr size_t kShown = 200;  // a client sees no status whose headers are too long
  return absl::UnimplementedError(
      absl::StrCat("unknown method ", View(path.substr(0, kShown)), path.size() > kShown ? "..." : ""));
}

absl::Status NoValidToken() {
  // One text for all of them: it must not help to guess.
  return absl::UnauthenticatedError("a valid token is needed, as metadata authorization: Bearer TOKEN");
}

absl::Status Draining() { return absl::UnavailableError("draining"); }

absl::Status ShuttingDown() { return absl::UnavailableError("shutting down"); }

absl::Status IdleStream(std::chrono::milliseconds read_timeout) {
  return absl::UnavailableError(absl::StrCat("idle: no message came within --read_timeout (",
                                             read_timeout.count(), "ms) while others waited to be read"));
}

absl::Status ReadTimedOut(std::chrono::milliseconds read_timeout) {
  return absl::DeadlineExceededError(
      absl::StrCat("the message was not complete within --read_timeout (", read_timeout.count(), "ms)"));
}

absl::Status NoMessage() { return absl::InvalidArgumentError("the call ended without a complete message"); }

absl::Status TooManyWaiting(int64_t held_bytes, int64_t limit_bytes) {
  return absl::ResourceExhaustedError(absl::StrCat("too many calls of this client wait to be read; queue: ",
                                                   held_bytes, " of ", limit_bytes, " bytes held"));
}

absl::Status TooManyHealthCalls() {
  return absl::ResourceExhaustedError("this client has too many calls of health open");
}

absl::Status ExpiredBeforeComputing() {
  return absl::DeadlineExceededError("the deadline passed before its turn: it was not computed");
}

absl::Status CancelledBeforeComputing() {
  return absl::CancelledError("cancelled before its turn: it was not computed");
}

absl::Status UnknownHealthService(std::string_view name) {
  return absl::NotFoundError(absl::StrCat("unknown service \"", View(name), "\""));
}

absl::Status QueueFull(int64_t held_bytes, int64_t limit_bytes, int64_t wanted_bytes) {
  return absl::ResourceExhaustedError(absl::StrCat("queue full: ", held_bytes, " of ", limit_bytes,
                                                   " bytes held, ", wanted_bytes, " wanted"));
}

absl::Status LargerThanQueue(int64_t wanted_bytes, int64_t limit_bytes) {
  return absl::InvalidArgumentError(absl::StrCat("the message and its answer need ", wanted_bytes,
                                                 " bytes of the queue, which has ", limit_bytes,
                                                 " for such messages"));
}

std::chrono::milliseconds RetryAfter() {
  // Weyl's sequence mixed: spread well enough, and cheap from any thread.
  static std::atomic<uint64_t> state{0};
  uint64_t x = state.fetch_add(0x9e3779b97f4a7c15u, std::memory_order_relaxed);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return std::chrono::milliseconds(50 + (x >> 33) % 101);
}

}  // namespace kldiv::server
