#ifndef KLDIV_TESTS_CUDA_HOST_FAULTS_H_
#define KLDIV_TESTS_CUDA_HOST_FAULTS_H_

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace kldiv::cuda_host {

// Whether the real runtime returns this error from every later call of the process, because the device's
// context is lost.
bool IsSticky(cudaError_t error);

// Faults to come, and the count of calls that brings them. Not thread-safe.
class Faults {
 public:
  void Add(const std::string& api, int64_t nth, cudaError_t error, bool repeated);

  // The same from "API:NTH:ERROR,…". A part that cannot be read ends the program with a message.
  void AddFromText(const char* text);

  // Counts a call; returns the error that it must return, cudaSuccess for none.
  cudaError_t Count(const char* api);

  void Clear() { faults_.clear(); }
  void ClearCounts() { counts_.clear(); }
  const std::map<std::string, int64_t>& counts() const { return counts_; }

 private:
  struct Fault {
    std::string api;
    int64_t calls_left;  // until it comes up; 0: it has
    cudaError_t error;
    bool repeated;
  };
  std::vector<Fault> faults_;
  std::map<std::string, int64_t> counts_;
};

}  // namespace kldiv::cuda_host

#endif  // KLDIV_TESTS_CUDA_HOST_FAULTS_H_
