#include "client/load/client_target.h"

#include <utility>

#include "client/load/stream_target.h"

namespace kldiv::load {
namespace {

// Evaluate and EvaluateBatch.
class UnaryTarget : public Target {
 public:
  UnaryTarget(bool batch, std::vector<std::unique_ptr<Client>> clients)
      : batch_(batch), clients_(std::move(clients)) {}

  int connections() const override { return static_cast<int>(clients_.size()); }

  void Start(int connection, std::span<const Pair> pairs, Done done) override {
    Client& client = *clients_[static_cast<size_t>(connection)];
    if (batch_) {
      client.EvaluateBatchAsync(
          pairs, {},
          [done = std::move(done)](const absl::StatusOr<std::vector<absl::StatusOr<Evaluation>>>& answers) {
            if (!answers.ok()) return done(answers.status(), {});
            done(absl::OkStatus(), *answers);
          });
    } else {
      client.EvaluateAsync(pairs[0], {}, [done = std::move(done)](const absl::StatusOr<Evaluation>& answer) {
        if (!answer.ok()) return done(answer.status(), {});
        done(absl::OkStatus(), std::span(&answer, 1));
      });
    }
  }

  void Cancel() override { clients_.clear(); }

 private:
  const bool batch_;
  std::vector<std::unique_ptr<Client>> clients_;
};

class StreamTarget : public Target {
 public:
  explicit StreamTarget(std::vector<std::unique_ptr<Client>> clients) {
    for (std::unique_ptr<Client>& client : clients) {
      streams_.push_back(std::make_unique<StreamConnection>(std::move(client)));
    }
  }

  int connections() const override { return static_cast<int>(streams_.size()); }

  void Start(int connection, std::span<const Pair> pairs, Done done) override {
    streams_[static_cast<size_t>(connection)]->Start(pairs[0], std::move(done));
  }

  void Cancel() override {
    for (const std::unique_ptr<StreamConnection>& stream : streams_) stream->Cancel();
  }

 private:
  std::vector<std::unique_ptr<StreamConnection>> streams_;
};

}  // namespace

std::unique_ptr<Target> MakeTarget(Mode mode, std::vector<std::unique_ptr<Client>> clients) {
  if (mode == Mode::kStream) return std::make_unique<StreamTarget>(std::move(clients));
  return std::make_unique<UnaryTarget>(mode == Mode::kBatch, std::move(clients));
}

}  // namespace kldiv::load
