#include "server/cuda/cuda_lane.h"

#include <cuda_runtime_api.h>

#include <chrono>
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
  server::RunTimes times() const override { return times_; }
  std::string_view device() const override { return device_->device().name; }
  bool InService() const override { return !device_->lost(); }

  // The status with the device's name before the message.
  absl::Status Named(const absl::Status& status) const {
    return absl::Status(status.code(), absl::StrCat(device_->device().name, ": ", status.message()));
  }

 private:
  absl::Status RunRounds(std::span<const Piece> pieces);
  absl::Status RunRound();
  absl::Status EnqueueRound();
  absl::Status Mark(const Event& moment);
  absl::Status AddDeviceTimes();
  void AfterFailure(const absl::Status& status);

  const std::shared_ptr<DeviceState> device_;
  const BufferSizes sizes_;

  // In this order, so that the buffers go last.
  Buffer staging_;
  Buffer results_;
  Stream stream_;
  // Moments of a round on the device: before the copy to it, after that, after the kernel, after the copy
  // back.
  Event begun_;
  Event copied_;
  Event computed_;
  Event done_;

  Round round_;  // a member for its memory
  server::RunTimes times_;
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
  for (Event* const event : {&begun_, &copied_, &computed_, &done_}) {
    if (status.ok()) make(*event, MakeEvent());
  }
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
  times_ = {};
  while (status.ok() && cursor.piece < pieces.size()) {
    round_.Plan(pieces, sizes_, cursor);
    status = RunRound();
  }
  return status;
}

absl::Status CudaLane::RunRound() {
  const auto begin = std::chrono::steady_clock::now();
  if (absl::Status status = round_.Gather(staging_.host.get()); !status.ok()) return status;
  times_.gather_ns += std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
  if (absl::Status status = EnqueueRound(); !status.ok()) return status;
  if (absl::Status status = CudaStatus("cudaEventSynchronize", cudaEventSynchronize(done_.get()));
      !status.ok()) {
    return status;
  }
  round_.Scatter(results_.host.get());
  return AddDeviceTimes();
}

absl::Status CudaLane::Mark(const Event& moment) {
  return CudaStatus("cudaEventRecord", cudaEventRecord(moment.get(), stream_.get()));
}

absl::Status CudaLane::AddDeviceTimes() {
  const auto add = [](int64_t& time_ns, const Event& from, const Event& to) {
    float milliseconds = 0;
    const cudaError_t error = cudaEventElapsedTime(&milliseconds, from.get(), to.get());
    time_ns += static_cast<int64_t>(milliseconds * 1e6f);
    return CudaStatus("cudaEventElapsedTime", error);
  };
  if (absl::Status status = add(times_.copy_ns, begun_, copied_); !status.ok()) return status;
  if (absl::Status status = add(times_.compute_ns, copied_, computed_); !status.ok()) return status;
  return add(times_.copy_ns, computed_, done_);
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

  absl::Status status = Mark(begun_);
  if (!status.ok()) return status;
  status =
      CudaStatus("cudaMemcpyAsync to the device",
                 cudaMemcpyAsync(staging, staging_.host.get(), static_cast<size_t>(round_.staging_bytes()),
                                 cudaMemcpyHostToDevice, stream_.get()));
  if (status.ok()) status = Mark(copied_);
  if (!status.ok()) return status;
  status = CudaStatus("cudaLaunchKernelEx", LaunchKlKernel(batch, stream_.get()));
  if (status.ok()) status = Mark(computed_);
  if (!status.ok()) return status;
  status =
      CudaStatus("cudaMemcpyAsync to the host",
                 cudaMemcpyAsync(results_.host.get(), results, static_cast<size_t>(round_.result_bytes()),
                                 cudaMemcpyDeviceToHost, stream_.get()));
  return status.ok() ? Mark(done_) : status;
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
