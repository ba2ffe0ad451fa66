#include "tests/integration/health.h"

#include <grpcpp/generic/generic_stub.h>

#include <vector>

namespace kldiv::integration {
namespace {

// Field numbers of grpc.reflection.v1alpha.ServerReflectionRequest.
constexpr char kFileContainingSymbol = 4;
constexpr char kListServices = 7;

// A ServerReflectionRequest with one string field, under 128 bytes; the response's bytes.
std::string Reflect(const std::shared_ptr<grpc::Channel>& channel, char field, const std::string& text) {
  const std::string request =
      std::string{static_cast<char>(field << 3 | 2), static_cast<char>(text.size())} + text;
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto wait = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
  };
  grpc::GenericStub stub(channel);
  const auto call =
      stub.PrepareCall(&context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  call->StartCall(nullptr);
  wait();
  const grpc::Slice slice(request);
  call->WriteLast(grpc::ByteBuffer(&slice, 1), {}, nullptr);
  wait();
  grpc::ByteBuffer response;
  call->Read(&response, nullptr);
  wait();
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!response.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& part : slices)
    bytes.append(reinterpret_cast<const char*>(part.begin()), part.size());
  return bytes;
}

}  // namespace

HealthAnswer CheckHealth(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  HealthResponse response;
  const grpc::Status status = grpc::health::v1::Health::NewStub(channel)->Check(&context, request, &response);
  return {status.error_code(), response.status()};
}

HealthWatcher::HealthWatcher(const std::shared_ptr<grpc::Channel>& channel, const std::string& service)
    : stub_(grpc::health::v1::Health::NewStub(channel)) {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  reader_ = stub_->Watch(&context_, request);
}

HealthWatcher::~HealthWatcher() {
  context_.TryCancel();
  reader_->Finish();
}

HealthResponse::ServingStatus HealthWatcher::Next() {
  HealthResponse response;
  return reader_->Read(&response) ? response.status() : HealthResponse::UNKNOWN;
}

std::string ReflectedServices(const std::shared_ptr<grpc::Channel>& channel) {
  return Reflect(channel, kListServices, "");
}

std::string ReflectedFile(const std::shared_ptr<grpc::Channel>& channel, const std::string& symbol) {
  return Reflect(channel, kFileContainingSymbol, symbol);
}

}  // namespace kldiv::integration
