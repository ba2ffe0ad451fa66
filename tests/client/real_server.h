#ifndef KLDIV_TESTS_CLIENT_REAL_SERVER_H_
#define KLDIV_TESTS_CLIENT_REAL_SERVER_H_

#include <gtest/gtest.h>
#include <signal.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/server/child_process.h"

namespace kldiv::client_testing {

// The program kldiv-server on a free port of this machine. KLDIV_SERVER_PROGRAM is its path.
class RealServer {
 public:
  explicit RealServer(std::vector<std::string> flags = {}) : process_(Arguments(std::move(flags))) {
    const std::string line = process_.OutputLine();
    const std::string prefix = "listening on ";
    if (line.rfind(prefix, 0) == 0)
      address_ = line.substr(prefix.size(), line.find(' ', prefix.size()) - prefix.size());
    EXPECT_FALSE(address_.empty()) << "the server said: " << line;
  }
  // Ends as it should, with everything accepted answered.
  ~RealServer() {
    process_.Signal(SIGTERM);
    EXPECT_EQ(process_.Wait(), 0);
  }

  const std::string& address() const { return address_; }
  void Signal(int signal) const { process_.Signal(signal); }

 private:
  static std::vector<std::string> Arguments(std::vector<std::string> flags) {
    flags.insert(flags.begin(), {KLDIV_SERVER_PROGRAM, "--listen=127.0.0.1:0", "--metrics_listen="});
    return flags;
  }

  server::ChildProcess process_;
  std::string address_;
};

}  // namespace kldiv::client_testing

#endif  // KLDIV_TESTS_CLIENT_REAL_SERVER_H_
