#include "server/server.h"

#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/mutex.h"
#include "server/base/version.h"
#include "server/batching/admission.h"
#include "server/batching/batcher.h"
#include "server/batching/lane_runner.h"
#include "server/cuda/cuda_devices.h"
#include "server/lanes/cpu_kernel.h"
#include "server/lanes/cpu_lane.h"
#include "server/memory.h"
#include "server/metrics_snapshot.h"
#include "server/net/listener.h"
#include "server/numerics/float_control.h"
#include "server/observability/log.h"
#include "server/observability/metrics.h"
#include "server/rpc/grpc_credentials.h"
#include "server/rpc/grpc_reflection.h"
#include "server/rpc/grpc_transport.h"
#include "server/rpc/service.h"
#include "server/warm_up.h"

namespace kldiv::server {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;
using ExternalConnections = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
using ConnectionAcceptor = grpc::experimental::ExternalConnectionAcceptor;

constexpr milliseconds kTick{100};
constexpr milliseconds kTrimInterval{1000};
// At certificates and tokens: two looks see a change, and streams whose token is gone end 0.5 s to 1 s later.
constexpr milliseconds kLookInterval{250};
// After a drain, for what comes late over connections that are still open.
constexpr milliseconds kQuiet{100};
constexpr milliseconds kNeverQuiet{2000};
constexpr milliseconds kShutdownGrace{1000};

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

GrpcTransportOptions TransportOptionsFrom(const ServerOptions& options) {
  GrpcTransportOptions transport;
  transport.polling_threads = options.polling_threads;
  transport.max_message_bytes = options.max_message_bytes;
  transport.max_memory = options.max_memory;
  transport.write_timeout = options.write_timeout;
  transport.on_thread_start = numerics::ResetFloatControl;
  return transport;
}

std::vector<std::unique_ptr<Lane>> CpuLanes(int count) {
  std::vector<std::unique_ptr<Lane>> lanes;
  for (int i = 0; i < count; ++i) lanes.push_back(MakeCpuLane());
  return lanes;
}

struct CudaLanes {
  std::vector<std::unique_ptr<Lane>> lanes;
  std::vector<cuda::Device> devices;  // whose they are
};

// Lanes of all devices. A device without memory for its lanes does not serve; with --backend=cuda the server
// does not start then.
absl::StatusOr<CudaLanes> MakeCudaLanes(const ServerOptions& options) {
  CudaLanes made;
  for (const cuda::Device& device : options.cuda_devices) {
    auto lanes = cuda::MakeLanes(device, options.cuda_lanes, options.max_batch_bytes);
    if (lanes.ok()) {
      made.devices.push_back(device);
      for (std::unique_ptr<Lane>& lane : *lanes) made.lanes.push_back(std::move(lane));
    } else if (options.backend == Backend::kCuda) {
      return absl::FailedPreconditionError(absl::StrCat("--backend=cuda: ", lanes.status().message()));
    } else {
      Log(LogLevel::kWarning, "a CUDA device does not serve",
          {{"error", std::string(lanes.status().message())}});
    }
  }
  return made;
}

// Calls a function every kTick on a thread of its own, until it is destroyed.
class Housekeeper {
 public:
  explicit Housekeeper(std::function<void(SteadyClock::time_point now)> work)
      : thread_([this, work = std::move(work)] { Loop(work); }) {}
  ~Housekeeper() {
    {
      MutexLock lock(mu_);
      stop_ = true;
    }
    wake_.NotifyAll();
    thread_.join();
  }

  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;

 private:
  void Loop(const std::function<void(SteadyClock::time_point)>& work) {
    SteadyClock::time_point next = SteadyClock::now();
    for (;;) {
      next += kTick;
      {
        MutexLock lock(mu_);
        while (!stop_ && wake_.WaitUntil(mu_, next)) {
        }
        if (stop_) return;
      }
      work(SteadyClock::now());
    }
  }

  Mutex mu_;
  CondVar wake_;
  bool stop_ KLDIV_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

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

  void BeginDrain() override;
  bool Drained() const override;
  bool Stop() override;

 private:
  void StartLanes();
  absl::Status StartGrpc();
  void Tick(SteadyClock::time_point now);
  void MaybeTrim(SteadyClock::time_point now);
  void LookAtFiles(SteadyClock::time_point now);

  const ServerOptions options_;
  const std::string backend_;
  Admission admission_;
  Batcher batcher_;
  std::unique_ptr<EvaluationService> service_;
  std::vector<std::unique_ptr<Lane>> lanes_to_start_;  // CUDA lanes; empty from Start on
  std::unique_ptr<LaneRunner> cpu_lanes_;
  std::unique_ptr<LaneRunner> cuda_lanes_;
  std::unique_ptr<GrpcTransport> transport_;
  std::unique_ptr<grpc::Server> grpc_server_;
  std::unique_ptr<ConnectionAcceptor> tls_acceptor_;  // of TCP; null: plaintext
  std::unique_ptr<ConnectionAcceptor> acceptor_;
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
  absl::StatusOr<std::unique_ptr<Listener>> listener = Listener::Open(options_.listen);
  if (!listener.ok())
    return absl::FailedPreconditionError(absl::StrCat("--listen: ", listener.status().message()));
  listener_ = *std::move(listener);
  if (options_.metrics_listen.has_value()) {
    absl::StatusOr<std::unique_ptr<MetricsServer>> metrics =
        MetricsServer::Start(*options_.metrics_listen,
                             [this] { return MetricsSnapshot(*service_, batcher_, admission_, *listener_); });
    if (!metrics.ok()) {
      return absl::FailedPreconditionError(absl::StrCat("--metrics_listen: ", metrics.status().message()));
    }
    metrics_ = *std::move(metrics);
  }
  WarmUp();
  StartLanes();
  if (absl::Status status = StartGrpc(); !status.ok()) return status;
  trimmer_.emplace(ResidentBytes());
  housekeeper_ = std::make_unique<Housekeeper>([this](SteadyClock::time_point now) { Tick(now); });
  if (options_.certificates != nullptr || options_.tokens != nullptr) {
    file_watcher_ = std::make_unique<Housekeeper>([this](SteadyClock::time_point now) { LookAtFiles(now); });
  }
  return absl::OkStatus();
}

// CPU lanes first: what they are there for, CUDA lanes leave to them.
void ServerImpl::StartLanes() {
  LaneRunner::Options runner;
  runner.max_batch_bytes = options_.max_batch_bytes;
  runner.on_no_lane_left = options_.on_no_lane_left;
  if (options_.backend != Backend::kCuda) {
    cpu_lanes_ = std::make_unique<LaneRunner>(batcher_, runner, CpuLanes(options_.cpu_threads));
  }
  if (lanes_to_start_.empty()) return;
  runner.kind = LaneKind::kCuda;
  runner.min_elements = options_.cuda_min_batch_elements;
  cuda_lanes_ = std::make_unique<LaneRunner>(batcher_, runner, std::move(lanes_to_start_));
}

absl::Status ServerImpl::StartGrpc() {
  EnableReflection();
  grpc::ServerBuilder builder;
  transport_ = GrpcTransport::Create(TransportOptionsFrom(options_), builder);
  acceptor_ = builder.experimental().AddExternalConnectionAcceptor(ExternalConnections::FROM_FD,
                                                                   grpc::InsecureServerCredentials());
  if (options_.certificates != nullptr) {
    tls_acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
        ExternalConnections::FROM_FD, TlsCredentials(options_.certificates->value()));
  }
  grpc_server_ = builder.BuildAndStart();
  if (grpc_server_ == nullptr) return absl::InternalError("gRPC did not start; its log says why");
  transport_->Start(*grpc_server_, *service_);
  listener_->Start(options_.max_connections, [this](int listener_fd, int fd, bool is_tcp) {
    ConnectionAcceptor::NewConnectionParameters connection;
    connection.listener_fd = listener_fd;
    connection.fd = fd;
    (is_tcp && tls_acceptor_ != nullptr ? tls_acceptor_ : acceptor_)->HandleNewConnection(&connection);
  });
  return absl::OkStatus();
}

void ServerImpl::Tick(SteadyClock::time_point now) {
  service_->Tick(now);
  transport_->Tick(now);
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
  service_->SetPhase(ServicePhase::kLameDuck);
  listener_->Close();
  service_->SetPhase(ServicePhase::kRefusing);
}

// A client that calls again and again keeps a server from being quiet, not from having answered everything.
bool ServerImpl::Drained() const {
  const SteadyClock::time_point now = SteadyClock::now();
  return !service_->Busy() && (service_->Quiet(now) >= kQuiet || now - drain_began_ >= kNeverQuiet);
}

// Connections end before gRPC's Shutdown, which would answer calls that race with it CANCELLED, a status that
// no client tries again elsewhere; an ended connection is UNAVAILABLE. What is left is cancelled and then
// finished by its handlers; lanes answer until the last of them has gone; nothing may start on a queue after
// its own shutdown, which is the transport's Stop.
bool ServerImpl::Stop() {
  stopped_ = true;
  if (grpc_server_ != nullptr) {
    listener_->Close();
    service_->SetPhase(ServicePhase::kRefusing);
    const bool complete = !service_->Busy();
    service_->EndWatchers();
    transport_->WaitUntilIdle(kShutdownGrace);
    listener_->EndConnections();
    grpc_server_->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
    if (!transport_->Stop(kShutdownGrace)) return false;
    housekeeper_.reset();
    batcher_.Close();
    cuda_lanes_.reset();
    cpu_lanes_.reset();
    const ServiceCounters& counters = service_->counters();
    return complete && counters.admitted_pairs.load() == counters.completed_pairs.load();
  }
  batcher_.Close();
  return true;
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
