#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/npy.h"

namespace kldiv::npy {
namespace {

absl::Status SystemError(const std::string& path, absl::string_view what, int error) {
  return absl::ErrnoToStatus(error, absl::StrCat(path, ": ", what));
}

// A file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  ~Descriptor() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return descriptor_; }
  bool valid() const { return descriptor_ >= 0; }

 private:
  const int descriptor_;
};

// The mode of a new file, as the process's umask has it. There is no way to ask for the mask alone.
mode_t NewFileMode() {
  const mode_t mask = umask(0);
  umask(mask);
  return 0666 & ~mask;
}

}  // namespace

absl::StatusOr<File> File::Open(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
  const Descriptor descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!descriptor.valid()) return SystemError(path, "cannot be opened", errno);
  struct stat facts = {};
  if (fstat(descriptor.get(), &facts) != 0) return SystemError(path, "cannot be read", errno);
  if (!S_ISREG(facts.st_mode))
    return absl::InvalidArgumentError(absl::StrCat(path, ": it is not a regular file"));

  std::span<const std::byte> mapping;
  if (facts.st_size > 0) {
    const auto size = static_cast<size_t>(facts.st_size);
    void* const address = mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor.get(), 0);
    if (address == MAP_FAILED) return SystemError(path, "cannot be mapped", errno);
    mapping = {static_cast<const std::byte*>(address), size};
  }
  File file(mapping);
  absl::StatusOr<Array> array = Parse(file.mapping_);
  if (!array.ok()) return absl::InvalidArgumentError(absl::StrCat(path, ": ", array.status().message()));
  file.array_ = *std::move(array);
  return file;
}

File::File(File&& other) noexcept
    : mapping_(std::exchange(other.mapping_, {})), array_(std::move(other.array_)) {}

File::~File() {
  if (!mapping_.empty()) munmap(const_cast<std::byte*>(mapping_.data()), mapping_.size());
}

absl::StatusOr<OutputFile> OutputFile::Create(const std::string& path, DType dtype,
                                              std::span<const int64_t> shape) {
  struct stat facts = {};
  if (lstat(path.c_str(), &facts) == 0 && !S_ISREG(facts.st_mode)) {
    // A link too: the file is put in place by renaming, which would replace the link and not what it names.
    return absl::InvalidArgumentError(absl::StrCat(path, ": it exists and is not a regular file"));
  }
  size_t bytes = static_cast<size_t>(ElementSize(dtype));
  for (const int64_t size : shape) bytes *= static_cast<size_t>(size);
  OutputFile file(path);
  if (absl::Status status = file.Reserve(Header(dtype, shape), bytes); !status.ok()) return status;
  return file;
}

absl::Status OutputFile::Reserve(const std::string& header, size_t data_bytes) {
  std::string temporary = path_ + ".XXXXXX";
  const Descriptor descriptor(mkostemp(temporary.data(), O_CLOEXEC));
  if (!descriptor.valid()) return SystemError(path_, "cannot be created", errno);
  temporary_path_ = std::move(temporary);
  if (fchmod(descriptor.get(), NewFileMode()) != 0) return SystemError(path_, "cannot be created", errno);
  const size_t size = header.size() + data_bytes;
  // Space that is missing is an error here; in a mapping it would be a signal.
  if (const int error = posix_fallocate(descriptor.get(), 0, static_cast<off_t>(size)); error != 0) {
    return SystemError(path_, absl::StrCat("no space for ", size, " bytes"), error);
  }
  void* const address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.get(), 0);
  if (address == MAP_FAILED) return SystemError(path_, "cannot be mapped", errno);
  mapping_ = {static_cast<std::byte*>(address), size};
  std::memcpy(mapping_.data(), header.data(), header.size());
  data_ = mapping_.subspan(header.size());
  return absl::OkStatus();
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_path_(std::exchange(other.temporary_path_, {})),
      mapping_(std::exchange(other.mapping_, {})),
      data_(std::exchange(other.data_, {})) {}

OutputFile::~OutputFile() {
  if (!mapping_.empty()) munmap(mapping_.data(), mapping_.size());
  if (!temporary_path_.empty()) unlink(temporary_path_.c_str());
}

absl::Status OutputFile::Commit() {
  if (rename(temporary_path_.c_str(), path_.c_str()) != 0)
    return SystemError(path_, "cannot be created", errno);
  temporary_path_.clear();
  return absl::OkStatus();
}

}  // namespace kldiv::npy
