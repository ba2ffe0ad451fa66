#include "server/cuda/cuda_lane.h"

#include <cuda_runtime_api.h>

#include <span>

#include "absl/strings/str_cat.h"
#include "server/cuda/cuda_handles.h"
#include "server/cuda/kl_kernel.h"
#include "server/observability/log.h"

namespace kldiv::cuda {
namespace {

using server::Piece;

// A buffer and its twin on the device.
struct Buffer {
  PinnedMemory host;
  DeviceMemory device;
};

absl::StatusOr<Buffer> MakeBuffer(int64_t bytes) {
  absl::StatusOr<PinnedMemory> host = MakePinnedMemory(bytes);
  if (!host.ok()) return host.status();
  absl::StatusOr<DeviceMemory> device = MakeDeviceMemory(bytes);
  if (!device.ok()) return device.status();
  return Buffer{*std::move(host), *std::move(device)};
}

class CudaLane final : public server::Lane {
 public:
  CudaLane(std::shared_ptr<DeviceState> device, const BufferSizes& sizes)
      : device_(std::move(device)), sizes_(sizes) {}
  // Nothing of it is under way: Run waits, whatever happens.
  ~CudaLane() override = default;

  absl::Status MakeResources();

  absl::Status Run(std::span<const Piece> pieces) override;
  bool InService() const override { return !device_->lost(); }

  // The status with the device's name before the message.
  absl::Status Named(const absl::Status& status) const {
    return absl::Status(status.code(), absl::StrCat(device_->device().name, ": ", status.message()));
  }

 private:
  absl::Status RunRounds(std::span<const Piece> pieces);
  absl::Status RunRound();
  absl::Status EnqueueRound();
  void AfterFailure(const absl::Status& status);

  const std::shared_ptr<DeviceState> device_;
  const BufferSizes sizes_;

  // In this order, so that the buffers go last.
  Buffer staging_;
  Buffer results_;
  Stream stream_;
  Event done_;

  Round round_;  // a member for its memory
};

absl::Status CudaLane::MakeResources() {
  absl::Status status = CudaStatus("cudaSetDevice", cudaSetDevice(device_->device().number));
  const auto make = [&status](auto& member, auto made) {
    if (made.ok()) {
      member = *std::move(made);
    } else {
      status = made.status();
    }
  };
  if (status.ok()) make(staging_, MakeBuffer(sizes_.staging_bytes));
  if (status.ok()) make(results_, MakeBuffer(sizes_.result_bytes));
  if (status.ok()) make(stream_, MakeStream());
  if (status.ok()) make(done_, MakeEvent());
  return status;
}

absl::Status CudaLane::Run(std::span<const Piece> pieces) {
  const absl::Status status = RunRounds(pieces);
  if (status.ok()) {
    device_->CountSuccess();
    return status;
  }
  AfterFailure(status);
  return Named(status);
}

absl::Status CudaLane::RunRounds(std::span<const Piece> pieces) {
  absl::Status status = CudaStatus("cudaSetDevice", cudaSetDevice(device_->device().number));
  Cursor cursor;
  while (status.ok() && cursor.piece < pieces.size()) {
    round_.Plan(pieces, sizes_, cursor);
    status = RunRound();
  }
  return status;
}

absl::Status CudaLane::RunRound() {
  if (absl::Status status = round_.Gather(staging_.host.get()); !status.ok()) return status;
  if (absl::Status status = EnqueueRound(); !status.ok()) return status;
  if (absl::Status status = CudaStatus("cudaEventSynchronize", cudaEventSynchronize(done_.get()));
      !status.ok()) {
    return status;
  }
  round_.Scatter(results_.host.get());
  return absl::OkStatus();
}

// The stream keeps the order; nothing is waited for here.
absl::Status CudaLane::EnqueueRound() {
  uint8_t* const staging = staging_.device.get();
  uint8_t* const results = results_.device.get();
  KlBatch batch;
  batch.staging = staging;
  batch.tiles = reinterpret_cast<const Tile*>(staging + round_.table_offset());
  batch.tile_count = static_cast<uint32_t>(round_.tile_count());
  batch.sums = reinterpret_cast<double*>(results);
  batch.pointwise = results + round_.pointwise_offset();

  cudaError_t error =
      cudaMemcpyAsync(staging, staging_.host.get(), static_cast<size_t>(round_.staging_bytes()),
                      cudaMemcpyHostToDevice, stream_.get());
  if (error != cudaSuccess) return CudaStatus("cudaMemcpyAsync to the device", error);
  error = LaunchKlKernel(batch, stream_.get());
  if (error != cudaSuccess) return CudaStatus("cudaLaunchKernelEx", error);
  error = cudaMemcpyAsync(results_.host.get(), results, static_cast<size_t>(round_.result_bytes()),
                          cudaMemcpyDeviceToHost, stream_.get());
  if (error != cudaSuccess) return CudaStatus("cudaMemcpyAsync to the host", error);
  return CudaStatus("cudaEventRecord", cudaEventRecord(done_.get(), stream_.get()));
}

// What is under way must not find its buffers in use again. And an error that has ended the device comes up
// in every call: whether this one fails too tells such an error from others.
void CudaLane::AfterFailure(const absl::Status& status) {
  const bool broken = device_->CountFailure();
  if (cudaStreamSynchronize(stream_.get()) == cudaSuccess && !broken) return;
  if (!device_->SetLost()) return;
  server::Log(server::LogLevel::kError, "a CUDA device is lost and leaves service",
              {{"device", device_->device().name}, {"error", std::string(status.message())}});
}

}  // namespace

absl::StatusOr<std::unique_ptr<server::Lane>> MakeCudaLane(std::shared_ptr<DeviceState> device,
                                                           const BufferSizes& sizes) {
  auto lane = std::make_unique<CudaLane>(std::move(device), sizes);
  if (absl::Status status = lane->MakeResources(); !status.ok()) return lane->Named(status);
  return lane;
}

}  // namespace kldiv::cuda
