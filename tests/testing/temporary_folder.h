#ifndef KLDIV_TESTS_TESTING_TEMPORARY_FOLDER_H_
#define KLDIV_TESTS_TESTING_TEMPORARY_FOLDER_H_

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace kldiv::testing {

// A folder for a test's files; goes with it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "kldiv-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) abort();
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }

  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

  // Writes a file in place, or anew; returns its path.
  std::string Write(const std::string& name, std::string_view text) const {
    std::ofstream(path_ / name, std::ios::binary | std::ios::trunc) << text;
    return *this / name;
  }
  // Replaces a file at one moment.
  void Replace(const std::string& name, std::string_view text) const {
    Write(name + ".new", text);
    std::filesystem::rename(path_ / (name + ".new"), path_ / name);
  }
  void Remove(const std::string& name) const { std::filesystem::remove(path_ / name); }

 private:
  std::filesystem::path path_;
};

}  // namespace kldiv::testing

#endif  // KLDIV_TESTS_TESTING_TEMPORARY_FOLDER_H_
