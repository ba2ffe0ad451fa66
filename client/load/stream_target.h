#ifndef KLDIV_CLIENT_LOAD_STREAM_TARGET_H_
#define KLDIV_CLIENT_LOAD_STREAM_TARGET_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "client/load/target.h"

namespace kldiv::load {

// The stream of one connection, with a thread that writes and one that reads. Thread-safe.
class StreamConnection {
 public:
  explicit StreamConnection(std::unique_ptr<Client> client);
  ~StreamConnection();  // As Cancel; waits until everything is done.

  void Start(const Pair& pair, Target::Done done);
  // Fails what has not been written and has the server end the stream.
  void Cancel();

 private:
  struct Queued {
    const Pair* pair;
    Target::Done done;
  };
  // A stream from its opening to its end.
  struct Session {
    std::unique_ptr<Stream> stream;
    std::unordered_map<uint64_t, Target::Done> unanswered;  // guarded by mu_
  };

  void Write();
  void Read();
  // Waits for a pair to write; false: no more will come.
  bool WaitForPair(Queued& queued);
  // The session to write on, opened if need be.
  absl::StatusOr<std::shared_ptr<Session>> SessionForWriting();
  // Calls back for a pair that is not done yet.
  void Finish(Session& session, uint64_t id, const absl::StatusOr<Evaluation>& answer);
  // The session has ended, and with it all that is unanswered.
  void End(const std::shared_ptr<Session>& session, const absl::Status& status);

  const std::unique_ptr<Client> client_;
  std::mutex mu_;
  std::condition_variable changed_;
  // Guarded by mu_.
  std::deque<Queued> queue_;
  std::shared_ptr<Session> session_;
  uint64_t last_id_ = 0;
  bool cancelled_ = false;
  bool written_ = false;  // the writer has ended

  std::thread writer_;
  std::thread reader_;
};

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_STREAM_TARGET_H_
