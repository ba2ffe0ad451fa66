#ifndef KLDIV_SERVER_SECURITY_FLAG_FILES_H_
#define KLDIV_SERVER_SECURITY_FLAG_FILES_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace kldiv::server {

// A file that a flag names.
struct FlagFile {
  static constexpr size_t kMaxBytes = size_t{1} << 20;

  std::string flag;  // without hyphens
  std::string path;

  // FAILED_PRECONDITION "--flag=path: reason".
  absl::Status Error(std::string_view reason) const;
};

// The files' contents, in order. FAILED_PRECONDITION: which one cannot be read, is no regular file or is
// larger than kMaxBytes.
absl::StatusOr<std::vector<std::string>> ReadFiles(std::span<const FlagFile> files);

// Tells contents from others without keeping them: they are secrets.
std::string DigestOf(std::span<const std::string> contents);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_SECURITY_FLAG_FILES_H_
