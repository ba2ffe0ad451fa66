#ifndef KLDIV_TESTS_INTEGRATION_HTTP2_CLIENT_H_
#define KLDIV_TESTS_INTEGRATION_HTTP2_CLIENT_H_

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
  // All until the peer closes.
  std::string ReceiveAll();
  // Ends the connection as the system does for a process that was killed with unread data: by a reset.
  void Reset();

 private:
  server::FileDescriptor fd_;
};

// A client that speaks just enough HTTP/2 to stop in the middle of things: one gRPC call on a connection of
// its own.
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
  std::string ReceiveAll() { return socket_.ReceiveAll(); }
  void Reset() { socket_.Reset(); }

 private:
  void SendFrame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload);

  Socket socket_;
};

}  // namespace kldiv::integration

#endif  // KLDIV_TESTS_INTEGRATION_HTTP2_CLIENT_H_
