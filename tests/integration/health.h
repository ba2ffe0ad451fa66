#ifndef KLDIV_TESTS_INTEGRATION_HEALTH_H_
#define KLDIV_TESTS_INTEGRATION_HEALTH_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "grpc/health/v1/health.grpc.pb.h"

// What a server says about itself, seen from the outside: grpc.health.v1 and server reflection.
namespace kldiv::integration {

using HealthResponse = grpc::health::v1::HealthCheckResponse;

struct HealthAnswer {
  grpc::StatusCode code = grpc::StatusCode::UNKNOWN;
  HealthResponse::ServingStatus status = HealthResponse::UNKNOWN;
};
HealthAnswer CheckHealth(const std::shared_ptr<grpc::Channel>& channel, const std::string& service);

// A call of Watch; cancelled when it is destroyed.
class HealthWatcher {
 public:
  HealthWatcher(const std::shared_ptr<grpc::Channel>& channel, const std::string& service);
  ~HealthWatcher();
  HealthWatcher(const HealthWatcher&) = delete;
  HealthWatcher& operator=(const HealthWatcher&) = delete;

  // The next state; waits for it. UNKNOWN when the call has ended.
  HealthResponse::ServingStatus Next();

 private:
  grpc::ClientContext context_;
  const std::unique_ptr<grpc::health::v1::Health::Stub> stub_;
  std::unique_ptr<grpc::ClientReader<HealthResponse>> reader_;
};

// The bytes of a ServerReflectionResponse: to the list of services, and to the question for the file that
// describes a symbol.
std::string ReflectedServices(const std::shared_ptr<grpc::Channel>& channel);
std::string ReflectedFile(const std::shared_ptr<grpc::Channel>& channel, const std::string& symbol);

}  // namespace kldiv::integration

#endif  // KLDIV_TESTS_INTEGRATION_HEALTH_H_
