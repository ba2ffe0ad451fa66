#include "server/server.h"

#include <signal.h>

#include <chrono>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/version.h"
#include "server/batching/admission.h"
#include "server/batching/batcher.h"
#include "server/batching/lane_runner.h"
#include "server/cuda/cuda_devices.h"
#include "server/housekeeper.h"
#include "server/lane_setup.h"
#include "server/lanes/cpu_kernel.h"
#include "server/memory.h"
#include "server/metrics_snapshot.h"
#include "server/net/listener.h"
#include "server/numerics/float_control.h"
#include "server/observability/log.h"
#include "server/observability/metrics.h"
#include "server/rpc/grpc_endpoint.h"
#include "server/rpc/grpc_reflection.h"
#include "server/rpc/service.h"
#include "server/warm_up.h"

namespace kldiv::server {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr milliseconds kTrimInterval{1000};
// At certificates and tokens: two looks see a change, and streams whose token is gone end 0.5 s to 1 s later.
constexpr milliseconds kLookInterval{250};
// After a drain, for what comes late over connections that are still open.
constexpr milliseconds kQuiet{100};
constexpr milliseconds kNeverQuiet{2000};
constexpr milliseconds kShutdownGrace{1000};

// Of the listener with health alone: its connections do not count against --max_memory, whose base has room
// for their few calls.
constexpr int64_t kHealthMemory = 32 << 20;

static_assert(kStreamWindowBytes == kLookaheadBytes, "the memory plan charges what the transport lets in");

// What GetServerInfo and the ready line say.
std::string BackendName(const std::vector<cuda::Device>& cuda_devices) {
  return cuda_devices.empty() ? "cpu" : "cuda";
}

ServiceOptions ServiceOptionsFrom(const ServerOptions& options,
                                  const std::vector<cuda::Device>& cuda_devices) {
  ServiceOptions service;
  service.max_message_bytes = options.max_message_bytes;
  service.max_queue_bytes = options.max_queue_bytes;
  service.max_pairs_per_message = options.max_pairs_per_message;
  service.max_in_flight_per_stream = options.max_in_flight_per_stream;
  service.max_health_calls = options.max_connections;
  service.read_grants = options.read_grants;
  service.read_timeout = options.read_timeout;
  service.version = base::kVersion;
  if (options.backend != Backend::kCuda) {
    service.devices.push_back(absl::StrCat(cpu_kernel::InstructionSet(), ", ", options.cpu_threads,
                                           options.cpu_threads == 1 ? " thread" : " threads"));
  }
  for (const cuda::Device& device : cuda_devices) service.devices.push_back(device.name);
  service.backend = BackendName(cuda_devices);
  if (options.backend == Backend::kCuda) service.inline_tiles = 0;
  if (options.tokens != nullptr) service.tokens = &options.tokens->value();
  return service;
}

GrpcTransportOptions TransportOptionsFrom(const ServerOptions& options, CallMetrics& metrics) {
  GrpcTransportOptions transport;
  transport.metrics = &metrics;
  transport.polling_threads = options.polling_threads;
  transport.max_message_bytes = options.max_message_bytes;
  transport.max_memory = options.max_memory;
  transport.write_timeout = options.write_timeout;
  transport.on_thread_start = numerics::ResetFloatControl;
  transport.max_connection_age = options.max_connection_age;
  return transport;
}

GrpcTransportOptions HealthTransportOptions(CallMetrics& metrics) {
  GrpcTransportOptions transport;
  transport.metrics = &metrics;
  transport.max_message_bytes = 64 << 10;
  transport.max_memory = kHealthMemory;
  transport.health_only = true;
  return transport;
}

// Listens where a flag says; an error names the flag.
absl::StatusOr<std::unique_ptr<Listener>> OpenListener(std::span<const ListenAddress> addresses,
                                                       absl::string_view flag) {
  absl::StatusOr<std::unique_ptr<Listener>> listener = Listener::Open(addresses);
  if (listener.ok()) return listener;
  return absl::FailedPreconditionError(absl::StrCat("--", flag, ": ", listener.status().message()));
}

// Reverse destruction is the shutdown order.
class ServerImpl final : public Server {
 public:
  ServerImpl(const ServerOptions& options, CudaLanes cuda)
      : options_(options),
        backend_(BackendName(cuda.devices)),
        admission_(options.max_queue_bytes),
        service_(EvaluationService::Create(ServiceOptionsFrom(options, cuda.devices), admission_, batcher_)),
        lanes_to_start_(std::move(cuda.lanes)) {}

  ~ServerImpl() override {
    if (!stopped_) Stop();
  }

  absl::Status Start();

  const std::vector<std::string>& addresses() const override { return listener_->addresses(); }
  std::string metrics_address() const override { return metrics_ == nullptr ? "off" : metrics_->address(); }
  std::string backend() const override { return backend_; }

  void AnnounceDrain() override { service_->SetPhase(ServicePhase::kLameDuck); }
  void BeginDrain() override;
  bool Drained() const override;
  bool Stop() override;

 private:
  absl::Status OpenSockets();
  void StartLanes();
  absl::Status StartGrpc();
  static bool StopEndpoint(GrpcEndpoint* endpoint, Listener* listener);
  void Tick(SteadyClock::time_point now);
  void MaybeTrim(SteadyClock::time_point now);
  void LookAtFiles(SteadyClock::time_point now);

  const ServerOptions options_;
  const std::string backend_;
  Admission admission_;
  Batcher batcher_;
  CallMetrics call_metrics_;
  std::unique_ptr<EvaluationService> service_;
  std::vector<std::unique_ptr<Lane>> lanes_to_start_;  // CUDA lanes; empty from Start on
  std::unique_ptr<LaneRunner> cpu_lanes_;
  std::unique_ptr<LaneRunner> cuda_lanes_;
  std::unique_ptr<GrpcEndpoint> health_endpoint_;  // null without --health_listen, as is its listener
  std::unique_ptr<GrpcEndpoint> endpoint_;
  std::unique_ptr<Listener> health_listener_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<MetricsServer> metrics_;
  std::unique_ptr<Housekeeper> housekeeper_;
  std::unique_ptr<Housekeeper> file_watcher_;  // apart, since a file system may hang
  bool stopped_ = false;
  SteadyClock::time_point drain_began_;

  // The housekeeper's.
  std::optional<MemoryTrimmer> trimmer_;
  SteadyClock::time_point next_trim_;

  SteadyClock::time_point next_look_;  // the file watcher's
};

absl::Status ServerImpl::Start() {
  signal(SIGPIPE, SIG_IGN);
  if (absl::Status status = OpenSockets(); !status.ok()) return status;
  WarmUp();
  StartLanes();
  if (absl::Status status = StartGrpc(); !status.ok()) return status;
  if (metrics_ != nullptr) {
    const MetricSources sources{
        call_metrics_, *service_,        batcher_,          admission_,
        *listener_,    cpu_lanes_.get(), cuda_lanes_.get(), options_.certificates.get()};
    metrics_->Start([sources] { return MetricsSnapshot(sources); });
  }
  trimmer_.emplace(ResidentBytes());
  housekeeper_ = std::make_unique<Housekeeper>([this](SteadyClock::time_point now) { Tick(now); });
  if (options_.certificates != nullptr || options_.tokens != nullptr) {
    file_watcher_ = std::make_unique<Housekeeper>([this](SteadyClock::time_point now) { LookAtFiles(now); });
  }
  return absl::OkStatus();
}

absl::Status ServerImpl::OpenSockets() {
  absl::StatusOr<std::unique_ptr<Listener>> listener = OpenListener(options_.listen, "listen");
  if (!listener.ok()) return listener.status();
  listener_ = *std::move(listener);
  if (options_.health_listen.has_value()) {
    absl::StatusOr<std::unique_ptr<Listener>> health =
        OpenListener({&*options_.health_listen, 1}, "health_listen");
    if (!health.ok()) return health.status();
    health_listener_ = *std::move(health);
  }
  if (options_.metrics_listen.has_value()) {
    absl::StatusOr<std::unique_ptr<MetricsServer>> metrics = MetricsServer::Open(*options_.metrics_listen);
    if (!metrics.ok()) {
      return absl::FailedPreconditionError(absl::StrCat("--metrics_listen: ", metrics.status().message()));
    }
    metrics_ = *std::move(metrics);
  }
  return absl::OkStatus();
}

// CPU lanes first: what they are there for, CUDA lanes leave to them.
void ServerImpl::StartLanes() {
  LaneRunner::Options runner;
  runner.max_batch_bytes = options_.max_batch_bytes;
  runner.on_no_lane_left = options_.on_no_lane_left;
  if (options_.backend != Backend::kCuda) {
    cpu_lanes_ = std::make_unique<LaneRunner>(batcher_, runner, MakeCpuLanes(options_.cpu_threads));
  }
  if (lanes_to_start_.empty()) return;
  runner.kind = LaneKind::kCuda;
  runner.min_elements = options_.cuda_min_batch_elements;
  cuda_lanes_ = std::make_unique<LaneRunner>(batcher_, runner, std::move(lanes_to_start_));
}

// Health first: reflection, once it is enabled, is in every gRPC server that is built.
absl::Status ServerImpl::StartGrpc() {
  if (health_listener_ != nullptr) {
    auto health = GrpcEndpoint::Start(HealthTransportOptions(call_metrics_), *service_, /*tls=*/nullptr);
    if (!health.ok()) return health.status();
    health_endpoint_ = *std::move(health);
  }
  EnableReflection();
  const Replaceable<TlsMaterial>* const tls =
      options_.certificates == nullptr ? nullptr : &options_.certificates->value();
  auto endpoint = GrpcEndpoint::Start(TransportOptionsFrom(options_, call_metrics_), *service_, tls);
  if (!endpoint.ok()) return endpoint.status();
  endpoint_ = *std::move(endpoint);

  listener_->Start(options_.max_connections, [this](int listener_fd, int fd, bool is_tcp) {
    endpoint_->TakeConnection(listener_fd, fd, is_tcp);
  });
  if (health_listener_ == nullptr) return absl::OkStatus();
  health_listener_->Start(options_.health_connections, [this](int listener_fd, int fd, bool is_tcp) {
    health_endpoint_->TakeConnection(listener_fd, fd, is_tcp);
  });
  Log(LogLevel::kInfo, "health checks are answered", {{"address", health_listener_->addresses().front()}});
  return absl::OkStatus();
}

void ServerImpl::Tick(SteadyClock::time_point now) {
  service_->Tick(now);
  endpoint_->Tick(now);
  if (health_endpoint_ != nullptr) health_endpoint_->Tick(now);
  MaybeTrim(now);
}

void ServerImpl::LookAtFiles(SteadyClock::time_point now) {
  if (now < next_look_) return;
  next_look_ = now + kLookInterval;
  if (options_.certificates != nullptr) options_.certificates->Check();
  if (options_.tokens != nullptr) options_.tokens->Check();
}

void ServerImpl::MaybeTrim(SteadyClock::time_point now) {
  if (now < next_trim_) return;
  next_trim_ = now + kTrimInterval;
  const int64_t received = service_->counters().message_bytes.load(std::memory_order_relaxed);
  if (!trimmer_->ShouldTrim({ResidentBytes(), received, admission_.held_bytes()})) return;
  TrimMemory();
  trimmer_->Trimmed(ResidentBytes());
}

void ServerImpl::BeginDrain() {
  drain_began_ = SteadyClock::now();
  AnnounceDrain();
  listener_->Close();
  service_->SetPhase(ServicePhase::kRefusing);
}

// A client that calls again and again keeps a server from being quiet, not from having answered everything;
// and a message that is still coming has been accepted no more than one that has not begun.
bool ServerImpl::Drained() const {
  const SteadyClock::time_point now = SteadyClock::now();
  if (service_->Owes()) return false;
  return now - drain_began_ >= kNeverQuiet || (!service_->Busy() && service_->Quiet(now) >= kQuiet);
}

// Connections end before gRPC's Shutdown, which would answer calls that race with it CANCELLED, a status that
// no client tries again elsewhere; an ended connection is UNAVAILABLE.
bool ServerImpl::StopEndpoint(GrpcEndpoint* endpoint, Listener* listener) {
  if (endpoint == nullptr) return true;
  listener->Close();
  listener->EndConnections();
  endpoint->Shutdown(kShutdownGrace);
  return endpoint->Stop(kShutdownGrace);
}

// What is left is cancelled and then finished by its handlers; lanes answer until the last of them has gone;
// nothing may start on a queue after its own shutdown, which is the endpoint's Stop.
bool ServerImpl::Stop() {
  stopped_ = true;
  if (endpoint_ == nullptr) {  // It did not start.
    if (health_endpoint_ != nullptr) StopEndpoint(health_endpoint_.get(), health_listener_.get());
    batcher_.Close();
    return true;
  }
  listener_->Close();
  service_->SetPhase(ServicePhase::kRefusing);
  service_->EndWatchers();
  endpoint_->WaitUntilIdle(kShutdownGrace);
  const bool complete = !service_->Owes();  // Half a message is owed no answer.
  if (!StopEndpoint(endpoint_.get(), listener_.get())) return false;
  if (health_endpoint_ != nullptr) health_endpoint_->WaitUntilIdle(kShutdownGrace);
  if (!StopEndpoint(health_endpoint_.get(), health_listener_.get())) return false;
  housekeeper_.reset();
  batcher_.Close();
  metrics_.reset();  // It looks at the lanes.
  cuda_lanes_.reset();
  cpu_lanes_.reset();
  const ServiceCounters& counters = service_->counters();
  return complete && counters.admitted_pairs.load() == counters.completed_pairs.load();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  absl::StatusOr<CudaLanes> cuda_lanes = MakeCudaLanes(options);
  if (!cuda_lanes.ok()) return cuda_lanes.status();
  auto server = std::make_unique<ServerImpl>(options, *std::move(cuda_lanes));
  if (absl::Status status = server->Start(); !status.ok()) return status;
  return server;
}

}  // namespace kldiv::server
