#ifndef KLDIV_TESTS_CLIENT_LOAD_PROGRAM_H_
#define KLDIV_TESTS_CLIENT_LOAD_PROGRAM_H_

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/server/child_process.h"
#include "tests/testing/temporary_folder.h"

// The program kldiv-load, for tests. KLDIV_LOAD is its path.
namespace kldiv::load {

struct Ended {
  int code = 0;
  std::string output;
  std::string errors;
};

inline std::vector<std::string> Command(const std::string& server, const std::vector<std::string>& flags) {
  std::vector<std::string> command = {KLDIV_LOAD, "--server=" + server};
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

inline Ended WaitFor(server::ChildProcess& program) {
  Ended ended;
  ended.output = program.Output();
  ended.errors = program.Errors();
  ended.code = program.Wait();
  return ended;
}

inline Ended Load(const std::string& server, const std::vector<std::string>& flags) {
  server::ChildProcess program(Command(server, flags));
  return WaitFor(program);
}

inline bool IsOneLine(const std::string& text) { return !text.empty() && text.find('\n') == text.size() - 1; }

// Reads progress lines up to one that has `part`, and returns it.
inline std::string ProgressWith(server::ChildProcess& program, const std::string& part) {
  std::string line = program.ErrorLine();
  while (!line.empty() && line.find(part) == std::string::npos) line = program.ErrorLine();
  EXPECT_FALSE(line.empty()) << "no progress line with " << part;
  return line;
}

// With a folder for the report and other files.
class ProgramTest : public ::testing::Test {
 protected:
  std::string JsonFlag() const { return "--json=" + (folder_ / "report.json"); }

  nlohmann::json Report() const {
    std::ifstream file(folder_ / "report.json");
    return nlohmann::json::parse(std::string(std::istreambuf_iterator<char>(file), {}));
  }

  testing::TemporaryFolder folder_;
};

}  // namespace kldiv::load

#endif  // KLDIV_TESTS_CLIENT_LOAD_PROGRAM_H_
