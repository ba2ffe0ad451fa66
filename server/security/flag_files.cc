#include "server/security/flag_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "server/net/listening_socket.h"
#include "server/security/sha256.h"

namespace kldiv::server {
namespace {

absl::StatusOr<std::string> ReadFile(const FlagFile& file) {
  // Not blocking: a pipe that nobody writes to would hold the server up.
  const FileDescriptor fd(open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return file.Error(std::strerror(errno));
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return file.Error(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return file.Error("is not a regular file");
  std::string text(FlagFile::kMaxBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = read(fd.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return file.Error(std::strerror(errno));
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > FlagFile::kMaxBytes) return file.Error("is larger than 1 MiB");
  return text.substr(0, size);
}

}  // namespace

absl::Status FlagFile::Error(std::string_view reason) const {
  return absl::FailedPreconditionError(absl::StrCat("--", flag, "=", path, ": ", std::string(reason)));
}

absl::StatusOr<std::vector<std::string>> ReadFiles(std::span<const FlagFile> files) {
  std::vector<std::string> contents;
  for (const FlagFile& file : files) {
    absl::StatusOr<std::string> text = ReadFile(file);
    if (!text.ok()) return text.status();
    contents.push_back(*std::move(text));
  }
  return contents;
}

std::string DigestOf(std::span<const std::string> contents) {
  std::string all;
  for (const std::string& content : contents) absl::StrAppend(&all, content.size(), ":", content);
  const Sha256Bytes digest = Sha256(all);
  return std::string(digest.begin(), digest.end());
}

}  // namespace kldiv::server
