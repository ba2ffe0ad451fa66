#include "server/rpc/stream_call.h"

#include <optional>
#include <utility>

#include "server/rpc/stream_state.h"

namespace kldiv::server {
namespace {

class StreamCall final : public CallHandler {
 public:
  explicit StreamCall(std::shared_ptr<StreamState> state) : state_(std::move(state)) {}

  void OnMessage(std::optional<Message> message) override { state_->OnMessage(std::move(message)); }
  void OnWritten(bool ok) override { state_->OnWritten(ok); }
  void OnCancelled() override { state_->OnCancelled(); }
  void OnDone() override { state_->OnDone(); }

 private:
  const std::shared_ptr<StreamState> state_;
};

}  // namespace

std::unique_ptr<CallHandler> StartStreamCall(ServiceContext& context, Call& call, Pass pass) {
  auto state = std::make_shared<StreamState>(context, call, std::move(pass));
  auto handler = std::make_unique<StreamCall>(state);
  state->Start();
  return handler;
}

}  // namespace kldiv::server
