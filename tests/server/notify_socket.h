#ifndef KLDIV_TESTS_SERVER_NOTIFY_SOCKET_H_
#define KLDIV_TESTS_SERVER_NOTIFY_SOCKET_H_

#include <string>

#include "server/net/listening_socket.h"

namespace kldiv::server {

// The socket of a service manager, in the abstract namespace or in a folder of its own, which it removes.
class NotifySocket {
 public:
  enum class Kind { kAbstract, kPath };
  explicit NotifySocket(Kind kind);
  ~NotifySocket();

  NotifySocket(const NotifySocket&) = delete;
  NotifySocket& operator=(const NotifySocket&) = delete;

  // What NOTIFY_SOCKET has to be.
  const std::string& name() const { return name_; }
  // The next message; waits for it.
  std::string Receive() const;
  // Has it a message that was not received?
  bool HasMessage() const;

 private:
  std::string folder_;  // empty: abstract
  std::string name_;
  FileDescriptor socket_;
};

}  // namespace kldiv::server

#endif  // KLDIV_TESTS_SERVER_NOTIFY_SOCKET_H_
