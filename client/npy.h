#ifndef KLDIV_CLIENT_NPY_H_
#define KLDIV_CLIENT_NPY_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/include/kldiv/client.h"

// NumPy's files (.npy; https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), as far as
// tensors for kldiv go: versions 1.0, 2.0 and 3.0; float16, float32 and float64, little-endian; C order; at
// most 64 dimensions.
namespace kldiv::npy {

// An array within the bytes of a file. Owns nothing but its shape.
struct Array {
  DType dtype = DType::kFp32;
  std::vector<int64_t> shape;  // none negative
  int64_t elements = 0;        // the product of the shape, 1 without dimensions
  std::span<const std::byte> data;

  Tensor tensor() const { return {dtype, shape, data}; }
};

// The array in a file's bytes, which are this array and nothing else; `data` is a part of them.
//
// Fortran order is accepted where it is C order as well, in arrays with at most one dimension other than 1 or
// without elements. INVALID_ARGUMENT: a reason for the user. Any bytes are safe.
absl::StatusOr<Array> Parse(std::span<const std::byte> file);

// A file that is mapped into memory. Whoever shortens it meanwhile kills the process that reads it.
class File {
 public:
  // INVALID_ARGUMENT when it is no array that can be used, NOT_FOUND and others when it cannot be read. The
  // text begins with the path.
  static absl::StatusOr<File> Open(const std::string& path);

  File(File&& other) noexcept;
  File& operator=(File&&) = delete;
  ~File();

  const Array& array() const { return array_; }

 private:
  explicit File(std::span<const std::byte> mapping) : mapping_(mapping) {}

  std::span<const std::byte> mapping_;
  Array array_;
};

// A file to be written in place. It appears under its name, complete, with Commit; a file of that name is
// replaced then. Without Commit nothing remains.
class OutputFile {
 public:
  // Reserves the space. The text of an error begins with the path.
  static absl::StatusOr<OutputFile> Create(const std::string& path, DType dtype,
                                           std::span<const int64_t> shape);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  // The elements, to be filled in.
  std::span<std::byte> data() const { return data_; }

  absl::Status Commit();

 private:
  explicit OutputFile(std::string path) : path_(std::move(path)) {}

  absl::Status Reserve(const std::string& header, size_t data_bytes);

  std::string path_;
  std::string temporary_path_;  // empty: nothing to remove
  std::span<std::byte> mapping_;
  std::span<std::byte> data_;  // a part of it
};

// What precedes the elements in a file of version 1.0. `dtype` is not kBf16, which NumPy does not have.
std::string Header(DType dtype, std::span<const int64_t> shape);

// Bytes of one element.
constexpr int64_t ElementSize(DType dtype) {
  return dtype == DType::kFp64 ? 8 : dtype == DType::kFp32 ? 4 : 2;
}

}  // namespace kldiv::npy

#endif  // KLDIV_CLIENT_NPY_H_
