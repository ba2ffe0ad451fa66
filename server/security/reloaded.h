#ifndef KLDIV_SERVER_SECURITY_RELOADED_H_
#define KLDIV_SERVER_SECURITY_RELOADED_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/observability/log.h"
#include "server/security/flag_files.h"

namespace kldiv::server {

// A value that one thread replaces while others use it. Thread-safe.
template <class T>
class Replaceable {
 public:
  explicit Replaceable(T value) : value_(std::make_shared<const T>(std::move(value))) {}

  std::shared_ptr<const T> Get() const {
    MutexLock lock(mu_);
    return value_;
  }
  void Set(T value) {
    auto next = std::make_shared<const T>(std::move(value));
    MutexLock lock(mu_);
    value_.swap(next);
  }

 private:
  mutable Mutex mu_;
  std::shared_ptr<const T> value_ KLDIV_GUARDED_BY(mu_);
};

// What files hold, as a value that follows them: whole and valid sets replace it, everything else (half of a
// rotation, a broken or a missing file) is logged once and leaves it as it is. What the files hold is
// compared, not their times: that sees what a network's file system or a replaced symbolic link would hide.
//
// Check belongs to one thread, value() to all.
template <class T>
class Reloaded {
 public:
  // The value that the files' contents mean, or a sentence that names the flag and the file.
  using Make = std::function<absl::StatusOr<T>(std::vector<std::string> contents)>;

  // `what` they are, for the log: "certificates". The first set has to be good.
  static absl::StatusOr<std::unique_ptr<Reloaded>> Load(std::string what, std::vector<FlagFile> files,
                                                        Make make) {
    absl::StatusOr<std::vector<std::string>> contents = ReadFiles(files);
    if (!contents.ok()) return contents.status();
    std::string digest = DigestOf(*contents);
    absl::StatusOr<T> value = make(*std::move(contents));
    if (!value.ok()) return value.status();
    return std::unique_ptr<Reloaded>(new Reloaded(std::move(what), std::move(files), std::move(make),
                                                  std::move(digest), *std::move(value)));
  }

  const Replaceable<T>& value() const { return value_; }

  // Looks at the files. A change counts when two looks in a row have seen the same: a file that is just being
  // written may pass for a whole one. A set that was refused is tried again each time, since a certificate
  // may only have been ahead of its day.
  void Check() {
    absl::StatusOr<std::vector<std::string>> contents = ReadFiles(files_);
    std::string look = contents.ok() ? DigestOf(*contents) : std::string(contents.status().message());
    const bool settled = look == last_look_;
    last_look_ = std::move(look);
    if (!settled) return;
    if (last_look_ == used_) {
      refused_.clear();
      return;
    }
    if (!contents.ok()) return Refuse(contents.status());
    absl::StatusOr<T> value = make_(*std::move(contents));
    if (!value.ok()) return Refuse(value.status());
    used_ = last_look_;
    refused_.clear();
    value_.Set(*std::move(value));
    Log(LogLevel::kInfo, what_ + " have been read again");
  }

 private:
  Reloaded(std::string what, std::vector<FlagFile> files, Make make, std::string digest, T value)
      : what_(std::move(what)),
        files_(std::move(files)),
        make_(std::move(make)),
        used_(std::move(digest)),
        last_look_(used_),
        value_(std::move(value)) {}

  void Refuse(const absl::Status& status) {
    std::string reason(status.message());
    if (reason == refused_) return;
    Log(LogLevel::kWarning, what_ + " have changed and cannot be used: those from before stay",
        {{"error", reason}});
    refused_ = std::move(reason);
  }

  const std::string what_;
  const std::vector<FlagFile> files_;
  const Make make_;
  std::string used_;       // digest of what `value_` was made of
  std::string last_look_;  // digest of what the files held, or why they could not be read
  std::string refused_;    // why the files as they are were refused; empty: they were not
  Replaceable<T> value_;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_SECURITY_RELOADED_H_
