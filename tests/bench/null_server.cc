// What gRPC itself costs: its C++ library with its default settings, a unary callback method on raw buffers
// that receives the message and answers a constant. Only the limit of received messages is lifted, which is
// 4 MiB by default. Prints where it listens; ends with SIGTERM.

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/rpc_service_method.h>
#include <grpcpp/impl/codegen/server_callback_handlers.h>
#include <grpcpp/impl/codegen/service_type.h>
#include <signal.h>

#include <cstdio>
#include <memory>
#include <string>

#include "proto/wire/encode.h"

namespace kldiv {
namespace {

class NullService final : public grpc::Service {
 public:
  NullService() {
    wire::PairAnswer constant;
    constant.loss = 1;
    constant.element_count = 1;
    const std::string answer = wire::EncodeEvaluateResponse(constant).owned;
    answer_ = grpc::Slice(answer.data(), answer.size());
    AddMethod(new grpc::internal::RpcServiceMethod("/kldiv.v1.KlDivergence/Evaluate",
                                                   grpc::internal::RpcMethod::NORMAL_RPC, nullptr));
    MarkMethodRawCallback(0, new grpc::internal::CallbackUnaryHandler<grpc::ByteBuffer, grpc::ByteBuffer>(
                                 [this](grpc::CallbackServerContext* context, const grpc::ByteBuffer*,
                                        grpc::ByteBuffer* response) {
                                   *response = grpc::ByteBuffer(&answer_, 1);
                                   grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
                                   reactor->Finish(grpc::Status::OK);
                                   return reactor;
                                 }));
  }

 private:
  grpc::Slice answer_;
};

int Serve() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  NullService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  std::printf("listening on 127.0.0.1:%d\n", port);
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  server->Shutdown();
  return 0;
}

}  // namespace
}  // namespace kldiv

int main() { return kldiv::Serve(); }
