#ifndef KLDIV_TESTS_INTEGRATION_HTTP2_CLIENT_H_
#define KLDIV_TESTS_INTEGRATION_HTTP2_CLIENT_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/net/listening_socket.h"

namespace kldiv::integration {

// A connected TCP socket. Failures end the test program.
class Socket {
 public:
  // `address` is IPV4:PORT.
  explicit Socket(const std::string& address);

  void Send(std::string_view bytes);
  // False: the peer has closed.
  bool TrySend(std::string_view bytes);
  // All until the peer closes.
  std::string ReceiveAll();
  // Waits until `bytes` have come. False: the peer has closed instead, or nothing has come for `patience`.
  bool ReceiveUntil(std::string_view bytes, std::chrono::milliseconds patience);
  // Waits until the peer closes, and reads nothing. Has it?
  bool WaitUntilClosed(std::chrono::milliseconds patience) const;
  // Ends the connection as the system does for a process that was killed with unread data: by a reset.
  void Reset();

 private:
  server::FileDescriptor fd_;
};

// A client that speaks just enough HTTP/2 to stop in the middle of things: gRPC calls on a connection of
// its own, which acknowledges nothing.
class Http2Call {
 public:
  enum class Headers : uint8_t { kEnd, kGoOn };

  // Connects and sends the headers of a call of `path`; kGoOn: more of them are to follow.
  Http2Call(const std::string& address, std::string_view path, Headers headers = Headers::kEnd);

  // Bytes of headers that go on, in a frame.
  void ContinueHeaders(std::string_view bytes);

  // The prefix of an uncompressed message of `size` bytes.
  void BeginMessage(uint32_t size);
  // Bytes of the call's body.
  void Send(std::string_view bytes);
  // Sends the headers of another call, which from now on is the one. False: the server has closed the
  // connection.
  bool CallAgain(std::string_view path);
  // The same, after it has reset the call, and no more than it.
  bool CancelAndCall(std::string_view path);

  std::string ReceiveAll() { return socket_.ReceiveAll(); }
  bool ReceiveUntil(std::string_view bytes, std::chrono::milliseconds patience) {
    return socket_.ReceiveUntil(bytes, patience);
  }
  bool WaitUntilClosed(std::chrono::milliseconds patience) const { return socket_.WaitUntilClosed(patience); }
  // Ends the connection.
  void Reset() { socket_.Reset(); }

 private:
  // A frame of the call.
  std::string Frame(uint8_t type, uint8_t flags, std::string_view payload) const;
  std::string HeadersFrame(std::string_view path, Headers headers) const;

  const std::string authority_;
  Socket socket_;
  uint32_t stream_ = 1;
};

}  // namespace kldiv::integration

#endif  // KLDIV_TESTS_INTEGRATION_HTTP2_CLIENT_H_
