#include "tests/gpu/resident_batch.h"

#include <utility>

#include "server/cuda/cuda_status.h"
#include "server/cuda/kl_kernel.h"

namespace kldiv::cuda::testing {

absl::StatusOr<std::unique_ptr<ResidentBatch>> ResidentBatch::Make(const Workload& workload) {
  std::unique_ptr<ResidentBatch> batch(new ResidentBatch());
  // For short pairs the padding and the table are most of the bytes: a unit for each tensor and each answer.
  const auto pairs = static_cast<int64_t>(workload.pieces().size());
  const int64_t padding = 4 * pairs * kUnitBytes;
  const BufferSizes sizes = BufferSizesFor(workload.tensor_bytes() + padding);
  Cursor cursor;
  batch->round_.Plan(workload.pieces(), sizes, cursor);
  if (cursor.piece != workload.pieces().size()) return absl::InternalError("the batch is not one round");

  absl::Status status;
  const auto make = [&status](auto& member, auto made) {
    if (made.ok()) {
      member = *std::move(made);
    } else {
      status.Update(made.status());
    }
  };
  make(batch->host_staging_, MakePinnedMemory(sizes.staging_bytes));
  make(batch->host_results_, MakePinnedMemory(sizes.result_bytes));
  make(batch->staging_, MakeDeviceMemory(sizes.staging_bytes));
  make(batch->copy_, MakeDeviceMemory(sizes.staging_bytes));
  make(batch->results_, MakeDeviceMemory(sizes.result_bytes));
  make(batch->stream_, MakeStream());
  if (status.ok()) status = batch->round_.Gather(batch->host_staging_.get());
  if (status.ok()) status = batch->CopyFromHost(1);
  if (!status.ok()) return status;
  return batch;
}

absl::Status ResidentBatch::Wait() {
  return CudaStatus("cudaStreamSynchronize", cudaStreamSynchronize(stream_.get()));
}

absl::Status ResidentBatch::Launch(int64_t times) {
  KlBatch batch;
  batch.staging = staging_.get();
  batch.tiles = reinterpret_cast<const Tile*>(staging_.get() + round_.table_offset());
  batch.tile_count = static_cast<uint32_t>(round_.tile_count());
  batch.sums = reinterpret_cast<double*>(results_.get());
  batch.pointwise = results_.get() + round_.pointwise_offset();
  for (int64_t i = 0; i < times; ++i) {
    const absl::Status status = CudaStatus("cudaLaunchKernelEx", LaunchKlKernel(batch, stream_.get()));
    if (!status.ok()) return status;
  }
  return Wait();
}

absl::Status ResidentBatch::CopyFromHost(int64_t times) {
  for (int64_t i = 0; i < times; ++i) {
    const cudaError_t error =
        cudaMemcpyAsync(staging_.get(), host_staging_.get(), static_cast<size_t>(copied_bytes()),
                        cudaMemcpyHostToDevice, stream_.get());
    if (error != cudaSuccess) return CudaStatus("cudaMemcpyAsync to the device", error);
  }
  return Wait();
}

absl::Status ResidentBatch::CopyOnDevice(int64_t times) {
  for (int64_t i = 0; i < times; ++i) {
    const cudaError_t error =
        cudaMemcpyAsync(copy_.get(), staging_.get(), static_cast<size_t>(copied_bytes()),
                        cudaMemcpyDeviceToDevice, stream_.get());
    if (error != cudaSuccess) return CudaStatus("cudaMemcpyAsync on the device", error);
  }
  return Wait();
}

absl::Status ResidentBatch::FetchResults() {
  const cudaError_t error =
      cudaMemcpyAsync(host_results_.get(), results_.get(), static_cast<size_t>(round_.result_bytes()),
                      cudaMemcpyDeviceToHost, stream_.get());
  if (error != cudaSuccess) return CudaStatus("cudaMemcpyAsync to the host", error);
  if (absl::Status status = Wait(); !status.ok()) return status;
  round_.Scatter(host_results_.get());
  return absl::OkStatus();
}

}  // namespace kldiv::cuda::testing
