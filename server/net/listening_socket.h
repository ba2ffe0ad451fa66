#ifndef KLDIV_SERVER_NET_LISTENING_SOCKET_H_
#define KLDIV_SERVER_NET_LISTENING_SOCKET_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/net/listen_address.h"

namespace kldiv::server {

// A file descriptor with an owner. Move-only; closes it when it is destroyed.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// A socket that listens: connections wait in the kernel until they are accepted. Move-only; destroying it
// closes it and, for a Unix socket, removes its path and gives up its lock.
//
// Non-blocking. TCP connections accepted from it send without delay, give up a peer that acknowledges nothing
// for 20 s or, when nothing is sent, no longer answers the kernel's probes (within a minute), and are only
// accepted once their client has sent something or 10 s have passed.
class ListeningSocket {
 public:
  // Listens on every address that the host's name means; port 0 becomes the same free port on all of them.
  //
  // A TCP port that anyone listens on is an error: it is never shared. A Unix socket gets mode 0600 and a
  // lock file PATH.lock beside it, which stays; a path left behind by a dead server is replaced.
  //
  // ALREADY_EXISTS: the port or the path is taken. NOT_FOUND: the host has no address. FAILED_PRECONDITION:
  // the system's reason. The messages begin with the address.
  static absl::StatusOr<std::vector<ListeningSocket>> Open(const ListenAddress& address);

  ListeningSocket(ListeningSocket&&) noexcept = default;
  ListeningSocket& operator=(ListeningSocket&&) = delete;
  ~ListeningSocket();

  int fd() const { return socket_.get(); }
  bool is_tcp() const { return address_.is_tcp(); }
  // With the real port.
  const ListenAddress& address() const { return address_; }

 private:
  ListeningSocket(ListenAddress address, FileDescriptor socket, FileDescriptor lock)
      : address_(std::move(address)), lock_(std::move(lock)), socket_(std::move(socket)) {}

  static absl::StatusOr<ListeningSocket> OpenUnix(const ListenAddress& address);

  ListenAddress address_;
  FileDescriptor lock_;  // of a Unix socket; outlives the path
  FileDescriptor socket_;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_NET_LISTENING_SOCKET_H_
