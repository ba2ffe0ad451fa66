#ifndef KLDIV_TESTS_SERVER_CHILD_PROCESS_H_
#define KLDIV_TESTS_SERVER_CHILD_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "server/net/listening_socket.h"

namespace kldiv::server {

// A program that runs beside a test, killed when it is destroyed.
class ChildProcess {
 public:
  // Runs arguments[0] with `environment` added to this process's own.
  explicit ChildProcess(std::vector<std::string> arguments,
                        std::vector<std::pair<std::string, std::string>> environment = {});
  ~ChildProcess();

  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // The next line of its stdout or stderr without the newline; waits for it. What is left when it has ended.
  std::string OutputLine() { return ReadLine(stdout_.get()); }
  std::string ErrorLine() { return ReadLine(stderr_.get()); }
  // All that is left of them; waits for their end.
  std::string Output() { return ReadAll(stdout_.get()); }
  std::string Errors() { return ReadAll(stderr_.get()); }

  void Signal(int signal) const;
  // Waits for its end; the exit code, or -signal.
  int Wait();

 private:
  static std::string ReadLine(int fd);
  static std::string ReadAll(int fd);

  pid_t pid_ = -1;
  FileDescriptor stdout_;
  FileDescriptor stderr_;
};

}  // namespace kldiv::server

#endif  // KLDIV_TESTS_SERVER_CHILD_PROCESS_H_
