#include "server/rpc/grpc_reflection.h"

#include <google/protobuf/message.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>

#include "grpc/health/v1/health.pb.h"
#include "kldiv/v1/kldiv.pb.h"

namespace kldiv::server {

void EnableReflection() {
  // Descriptors come from the generated code, which nothing else in the server refers to.
  google::protobuf::LinkMessageReflection<kldiv::v1::EvaluateRequest>();
  google::protobuf::LinkMessageReflection<grpc::health::v1::HealthCheckRequest>();
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
}

}  // namespace kldiv::server
