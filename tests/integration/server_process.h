#ifndef KLDIV_TESTS_INTEGRATION_SERVER_PROCESS_H_
#define KLDIV_TESTS_INTEGRATION_SERVER_PROCESS_H_

#include <grpcpp/channel.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/server/child_process.h"

namespace kldiv::integration {

// The path of the server's program: KLDIV_SERVER_BINARY in the environment, for tests that run elsewhere than
// they were built, or the one that was built with them.
std::string ServerBinary();

// A kldiv-server on free loopback ports; killed when it is destroyed.
class ServerProcess {
 public:
  // Starts it with `flags`, among them --listen unless the default of one free port will do, and waits for
  // its ready line.
  explicit ServerProcess(std::vector<std::string> flags = {});

  const std::string& address() const { return addresses_.front(); }
  const std::vector<std::string>& addresses() const { return addresses_; }
  const std::string& ready_line() const { return ready_line_; }

  // A channel of its own connection, without a limit of received bytes.
  std::shared_ptr<grpc::Channel> NewChannel() const { return NewChannelTo(address()); }
  static std::shared_ptr<grpc::Channel> NewChannelTo(const std::string& address);

  // The next line of its log; waits for it.
  std::string LogLine() { return process_.ErrorLine(); }

  // The value of a metric, its labels in the name as they are shown, now; -1 when there is none of that name.
  int64_t Metric(const std::string& name) const;
  // Metrics of a name with all their labels, as they are shown now.
  std::vector<std::string> SeriesWith(const std::string& name) const;
  // Waits until the metric has a value, for half a minute at most. Has it?
  bool WaitForMetric(const std::string& name, int64_t value) const;
  // Waits until every call that was let in has ended. Do the counters balance?
  bool WaitUntilBalanced() const;

  void Signal(int signal) const { process_.Signal(signal); }
  // Waits for its end; the exit code, or -signal.
  int Wait() { return process_.Wait(); }
  int StopBy(int signal) {
    Signal(signal);
    return Wait();
  }

 private:
  std::string Scrape() const;

  server::ChildProcess process_;
  std::string ready_line_;
  std::vector<std::string> addresses_;
  std::string metrics_address_;
};

}  // namespace kldiv::integration

#endif  // KLDIV_TESTS_INTEGRATION_SERVER_PROCESS_H_
