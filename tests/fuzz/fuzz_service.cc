// The service under clients that do anything in any order: calls of every method with arbitrary headers,
// arbitrary bytes in arbitrary slices, half-closes, cancels, answers that nobody takes, time that passes, a
// drain. Every call ends with one status, every admitted pair is completed once, and in the end nothing is
// held.
//
// An input is a list of operations, each a byte and its operands; see Operations.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "server/batching/admission.h"
#include "server/batching/batcher.h"
#include "server/batching/lane_runner.h"
#include "server/lanes/cpu_lane.h"
#include "server/rpc/service.h"
#include "server/security/tokens.h"
#include "tests/testing/fake_transport.h"

namespace kldiv::server {
namespace {

constexpr size_t kMaxOperations = 200;
constexpr size_t kMaxCalls = 24;
constexpr std::chrono::seconds kPatience(20);

void Require(bool condition) {
  if (!condition) abort();
}

// A breach of the transport's contract is a failed expectation there.
[[maybe_unused]] const bool breaches_end_the_program = [] {
  GTEST_FLAG_SET(break_on_failure, true);
  return true;
}();

class Input {
 public:
  explicit Input(std::string_view bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  // 0 behind the end.
  uint8_t Byte() {
    const std::string_view byte = Bytes(1);
    return byte.empty() ? 0 : static_cast<uint8_t>(byte[0]);
  }
  size_t Length() {
    const size_t low = Byte();
    return low | size_t{Byte()} << 8;
  }
  // Fewer behind the end.
  std::string_view Bytes(size_t count) {
    const std::string_view bytes = rest_.substr(0, count);
    rest_.remove_prefix(bytes.size());
    return bytes;
  }

 private:
  std::string_view rest_;
};

class Play {
 public:
  Play(bool with_tokens, int inline_tiles)
      : tokens_(TokenSet::Parse("a:good\n").value()),
        service_(EvaluationService::Create(Options(with_tokens, inline_tiles), admission_, batcher_)),
        transport_(std::make_unique<testing::FakeTransport>(*service_)) {
    std::vector<std::unique_ptr<Lane>> lanes;
    lanes.push_back(MakeCpuLane());
    lanes_ = std::make_unique<LaneRunner>(batcher_, LaneKind::kCpu, std::move(lanes), int64_t{1} << 20);
  }

  ~Play() {
    for (testing::FakeCall* const call : calls_) {
      call->StallWrites(false);
      call->Cancel();
    }
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!std::ranges::all_of(calls_, [](const testing::FakeCall* call) { return call->done(); })) {
      transport_->Poll();
      Require(std::chrono::steady_clock::now() < end);
      std::this_thread::yield();
    }
    transport_.reset();
    batcher_.Close();
    lanes_.reset();
    const ServiceCounters& counters = service_->counters();
    Require(counters.calls_started == counters.calls_ended);
    Require(counters.admitted_pairs == counters.completed_pairs);
    Require(service_->read_grants().held == 0 && service_->read_grants().parked == 0);
    Require(admission_.held_bytes() == 0);
  }

  void Operations(Input& input) {
    for (size_t i = 0; i < kMaxOperations && !input.empty(); ++i) {
      const uint8_t operation = input.Byte() % 8;
      if (operation == 0) {
        Open(input);
      } else if (operation == 1) {
        transport_->Poll();
      } else if (operation == 2) {
        now_ += std::chrono::milliseconds(20 * input.Byte());
        service_->Tick(now_);
      } else if (operation == 3) {
        const bool refusing = input.Byte() % 2 != 0;
        phase_ = std::max(phase_, refusing ? ServicePhase::kRefusing : ServicePhase::kLameDuck);
        service_->SetPhase(phase_);
        if (phase_ == ServicePhase::kRefusing) service_->EndWatchers();
      } else if (!calls_.empty()) {
        AsClient(operation, *calls_[input.Byte() % calls_.size()], input);
      }
    }
  }

 private:
  ServiceOptions Options(bool with_tokens, int inline_tiles) const {
    ServiceOptions options;
    options.max_message_bytes = 64 << 10;
    options.max_queue_bytes = admission_.max_bytes();
    options.max_pairs_per_message = 100;
    options.max_in_flight_per_stream = 3;
    options.read_grants = 2;
    options.read_timeout = std::chrono::milliseconds(1000);
    options.inline_tiles = inline_tiles;
    options.tokens = with_tokens ? &tokens_ : nullptr;
    return options;
  }

  void Open(Input& input) {
    if (calls_.size() == kMaxCalls) return;
    testing::FakeTransport::CallOptions call;
    const auto method = static_cast<Method>(input.Byte() % kMethods);
    const uint8_t choices = input.Byte();
    call.path = method == Method::kUnknown ? std::string(input.Bytes(input.Byte())) : PathOf(method);
    call.peer = choices & 1 ? "ipv4:10.0.0.1:5000" : "ipv6:%5B::1%5D:5000";
    if (choices & 2) call.headers["authorization"] = "Bearer good";
    if (choices & 4) call.headers["authorization"] = std::string(input.Bytes(input.Byte()));
    if (choices & 8) call.certificate_name = std::string(input.Bytes(input.Byte()));
    if (choices & 16) call.deadline = now_ - std::chrono::milliseconds(1);
    if (choices & 32) call.deadline = now_ + std::chrono::hours(1);
    calls_.push_back(&transport_->Call(method, std::move(call)));
  }

  void AsClient(uint8_t operation, testing::FakeCall& call, Input& input) {
    switch (operation) {
      case 4: {
        const size_t slice_bytes = 1 + input.Byte() * size_t{64};
        call.Send(input.Bytes(input.Length()), slice_bytes);
        break;
      }
      case 5:
        call.HalfClose();
        break;
      case 6:
        call.Cancel();
        break;
      default:
        call.StallWrites(input.Byte() % 2 != 0);
    }
  }

  const Replaceable<TokenSet> tokens_;
  Admission admission_{256 << 10};
  Batcher batcher_;
  const std::unique_ptr<EvaluationService> service_;
  std::unique_ptr<testing::FakeTransport> transport_;
  std::unique_ptr<LaneRunner> lanes_;
  std::vector<testing::FakeCall*> calls_;
  ServicePhase phase_ = ServicePhase::kServing;
  std::chrono::steady_clock::time_point now_ = std::chrono::steady_clock::now();
};

}  // namespace
}  // namespace kldiv::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kldiv::server::Input input({reinterpret_cast<const char*>(data), size});
  const uint8_t choices = input.Byte();
  kldiv::server::Play play(/*with_tokens=*/(choices & 1) != 0, /*inline_tiles=*/(choices & 2) != 0 ? 0 : 4);
  play.Operations(input);
  return 0;
}
