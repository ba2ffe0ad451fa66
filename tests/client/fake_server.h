#ifndef KLDIV_TESTS_CLIENT_FAKE_SERVER_H_
#define KLDIV_TESTS_CLIENT_FAKE_SERVER_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>

#include "kldiv/v1/kldiv.grpc.pb.h"

namespace kldiv::client_testing {

// A gRPC server in this process whose answers are the test's: functions that are set before the first call.
// Those that are not set are UNIMPLEMENTED. Handlers run on the server's threads; they have returned before
// it goes.
class FakeServer : private v1::KlDivergence::Service {
 public:
  using ServerStream = grpc::ServerReaderWriter<v1::EvaluateResult, v1::EvaluateRequest>;

  FakeServer() : FakeServer("127.0.0.1:0") {}
  explicit FakeServer(
      const std::string& address,
      const std::shared_ptr<grpc::ServerCredentials>& credentials = grpc::InsecureServerCredentials()) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, credentials, &port_);
    builder.SetMaxReceiveMessageSize(-1);
    builder.SetMaxSendMessageSize(-1);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeServer() override { Stop(); }

  // Cancels what is under way.
  void Stop() { server_->Shutdown(std::chrono::system_clock::now()); }

  // Of the default health service, when that is enabled.
  void SetServing(bool serving) {
    server_->GetHealthCheckService()->SetServingStatus("", serving);
    server_->GetHealthCheckService()->SetServingStatus(v1::KlDivergence::service_full_name(), serving);
  }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  std::function<grpc::Status(grpc::ServerContext&, const v1::EvaluateRequest&, v1::EvaluateResponse&)>
      evaluate;
  std::function<grpc::Status(grpc::ServerContext&, const v1::EvaluateBatchRequest&,
                             v1::EvaluateBatchResponse&)>
      evaluate_batch;
  std::function<grpc::Status(grpc::ServerContext&, ServerStream&)> evaluate_stream;
  std::function<grpc::Status(v1::GetServerInfoResponse&)> get_server_info;

 private:
  template <typename Function, typename... Arguments>
  static grpc::Status Call(const Function& function, Arguments&&... arguments) {
    if (!function) return {grpc::StatusCode::UNIMPLEMENTED, "the test has not set this"};
    return function(std::forward<Arguments>(arguments)...);
  }

  grpc::Status Evaluate(grpc::ServerContext* context, const v1::EvaluateRequest* request,
                        v1::EvaluateResponse* response) override {
    return Call(evaluate, *context, *request, *response);
  }
  grpc::Status EvaluateBatch(grpc::ServerContext* context, const v1::EvaluateBatchRequest* request,
                             v1::EvaluateBatchResponse* response) override {
    return Call(evaluate_batch, *context, *request, *response);
  }
  grpc::Status EvaluateStream(grpc::ServerContext* context, ServerStream* stream) override {
    return Call(evaluate_stream, *context, *stream);
  }
  grpc::Status GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*,
                             v1::GetServerInfoResponse* response) override {
    return Call(get_server_info, *response);
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace kldiv::client_testing

#endif  // KLDIV_TESTS_CLIENT_FAKE_SERVER_H_
