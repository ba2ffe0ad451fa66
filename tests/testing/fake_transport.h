#ifndef KLDIV_TESTS_TESTING_FAKE_TRANSPORT_H_
#define KLDIV_TESTS_TESTING_FAKE_TRANSPORT_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "server/base/mutex.h"
#include "server/rpc/transport.h"

namespace kldiv::testing {

class FakeCall;

// Calls without a network: a test plays the clients, and the service sees what it would see over gRPC. Every
// breach of the contract of transport.h by the service is a test failure.
//
// With no thread, events wait until the test calls Poll. With threads, each call belongs to one of them, and
// events are delivered as they come.
class FakeTransport {
 public:
  explicit FakeTransport(server::Service& service, int threads = 0);
  ~FakeTransport();  // Every call has ended.

  FakeTransport(const FakeTransport&) = delete;
  FakeTransport& operator=(const FakeTransport&) = delete;

  struct CallOptions {
    std::string peer = "ipv4:10.0.0.1:5000";
    std::string certificate_name;
    std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
    std::string path = "/kldiv.v1.KlDivergence/Evaluate";
    std::map<std::string, std::string, std::less<>> headers;
  };

  // A client's call, its headers on their way. Valid until the transport goes.
  FakeCall& Call(server::Method method, CallOptions options);
  FakeCall& Call(server::Method method) { return Call(method, CallOptions()); }

  // Without threads: delivers events until there are none.
  void Poll();

 private:
  friend class FakeCall;
  using Event = std::function<void()>;

  // A completion queue with its polling thread.
  struct Poller {
    server::Mutex mu;
    server::CondVar wake;
    std::deque<Event> events KLDIV_GUARDED_BY(mu);
    bool stop KLDIV_GUARDED_BY(mu) = false;
    std::thread thread;
  };

  static void Post(Poller& poller, Event event);
  static void Run(Poller& poller);

  server::Service& service_;
  std::vector<std::unique_ptr<Poller>> pollers_;
  server::Mutex mu_;
  std::vector<std::shared_ptr<FakeCall>> calls_ KLDIV_GUARDED_BY(mu_);
};

// A call: the service's side is server::Call, the rest is the client's. Thread-safe.
class FakeCall final : public server::Call, public std::enable_shared_from_this<FakeCall> {
 public:
  FakeCall(server::Method method, FakeTransport::CallOptions options, FakeTransport::Poller& poller);

  // The client's side.

  // Sends a message, in slices of at most `slice_bytes`.
  void Send(std::string_view message, size_t slice_bytes = 8192);
  void HalfClose();
  // Gives up, or dies: the service is told if it wants to know; reads and writes fail.
  void Cancel();
  // From now on nothing that is written leaves, or, with false, everything does.
  void StallWrites(bool stall);

  // What has come back so far.
  bool ended() const;           // a status has left, or the call was aborted or cancelled
  absl::Status status() const;  // of a call that has ended
  std::chrono::milliseconds retry_after() const;
  std::vector<std::string> answers() const;  // messages, a unary answer among them
  // Of the service's side.
  bool reading() const;  // a Read is under way
  bool watches_cancel() const;
  bool done() const;  // OnDone has been delivered
  int reads() const;  // Reads so far

  // Waits for the call to be done, for `count` answers. False: not within a generous while.
  bool WaitUntilDone();
  bool WaitForAnswers(size_t count);

  // The service's side.
  server::Method method() const override { return method_; }
  std::string_view path() const override { return options_.path; }
  std::string peer() const override;
  std::string certificate_name() const override { return options_.certificate_name; }
  std::string_view header(std::string_view name) const override;
  std::chrono::steady_clock::time_point deadline() const override { return options_.deadline; }
  std::chrono::steady_clock::time_point started_at() const override { return started_at_; }
  void SetRequestId(uint64_t id) override { request_id_.store(id); }
  void Read() override;
  void Write(server::Answer answer) override;
  void Finish(server::Answer answer) override;
  void Finish(const absl::Status& status, std::chrono::milliseconds retry_after) override;
  void NotifyOnCancel() override;
  void Abort(const absl::Status& status) override;

  // What the service has named it; 0: nothing.
  uint64_t request_id() const { return request_id_.load(); }
  // How often peer() was asked for.
  int peer_calls() const { return peer_calls_.load(); }

 private:
  friend class FakeTransport;

  void Begin(server::Service& service);
  void Expect(bool condition, const char* what) const;
  void Post(std::function<void()> event) KLDIV_REQUIRES(mu_);
  bool IsDead() const KLDIV_REQUIRES(mu_) { return cancelled_ || aborted_; }
  // Ends what can end now.
  void Progress() KLDIV_REQUIRES(mu_);
  void ProgressRead() KLDIV_REQUIRES(mu_);
  void ProgressWrite() KLDIV_REQUIRES(mu_);
  void ProgressFinish() KLDIV_REQUIRES(mu_);
  void ProgressCancel() KLDIV_REQUIRES(mu_);
  void StartFinish(server::Answer answer, const absl::Status& status, std::chrono::milliseconds retry_after);
  void End(const absl::Status& status) KLDIV_REQUIRES(mu_);

  const server::Method method_;
  const FakeTransport::CallOptions options_;
  const std::chrono::steady_clock::time_point started_at_ = std::chrono::steady_clock::now();
  FakeTransport::Poller& poller_;
  mutable std::atomic<int> peer_calls_ = 0;
  std::atomic<uint64_t> request_id_ = 0;

  std::unique_ptr<server::CallHandler> handler_;  // the polling thread's

  mutable server::Mutex mu_;
  server::CondVar changed_;
  // The client's.
  std::deque<server::Message> sent_ KLDIV_GUARDED_BY(mu_);  // and not read
  bool half_closed_ KLDIV_GUARDED_BY(mu_) = false;
  bool cancelled_ KLDIV_GUARDED_BY(mu_) = false;
  bool stalled_ KLDIV_GUARDED_BY(mu_) = false;
  std::vector<std::string> answers_ KLDIV_GUARDED_BY(mu_);
  bool ended_ KLDIV_GUARDED_BY(mu_) = false;
  absl::Status status_ KLDIV_GUARDED_BY(mu_);
  std::chrono::milliseconds retry_after_ KLDIV_GUARDED_BY(mu_){};
  // The service's.
  bool began_ KLDIV_GUARDED_BY(mu_) = false;
  bool reading_ KLDIV_GUARDED_BY(mu_) = false;
  bool read_ending_ KLDIV_GUARDED_BY(mu_) = false;  // its event has been posted
  int reads_ KLDIV_GUARDED_BY(mu_) = 0;
  bool writing_ KLDIV_GUARDED_BY(mu_) = false;
  std::optional<server::Answer> to_write_ KLDIV_GUARDED_BY(mu_);
  bool finish_called_ KLDIV_GUARDED_BY(mu_) = false;
  server::Answer final_answer_ KLDIV_GUARDED_BY(mu_);
  bool has_final_answer_ KLDIV_GUARDED_BY(mu_) = false;
  absl::Status final_status_ KLDIV_GUARDED_BY(mu_);
  bool finished_ KLDIV_GUARDED_BY(mu_) = false;  // the status has left or cannot
  bool watches_cancel_ KLDIV_GUARDED_BY(mu_) = false;
  bool cancel_told_ KLDIV_GUARDED_BY(mu_) = false;
  bool aborted_ KLDIV_GUARDED_BY(mu_) = false;
  int events_ KLDIV_GUARDED_BY(mu_) = 0;  // posted and not delivered
  bool done_posted_ KLDIV_GUARDED_BY(mu_) = false;
  bool done_ KLDIV_GUARDED_BY(mu_) = false;
};

}  // namespace kldiv::testing

#endif  // KLDIV_TESTS_TESTING_FAKE_TRANSPORT_H_
