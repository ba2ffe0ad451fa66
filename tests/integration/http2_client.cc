#include "tests/integration/http2_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

namespace kldiv::integration {
namespace {

constexpr uint8_t kData = 0;
constexpr uint8_t kHeaders = 1;
constexpr uint8_t kSettings = 4;
constexpr uint8_t kContinuation = 9;
constexpr uint8_t kEndHeaders = 4;
constexpr uint32_t kCallStream = 1;

[[noreturn]] void Die(const char* what) {
  std::cerr << what << " failed\n";
  std::abort();
}

std::string BigEndian(uint64_t value, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) text += static_cast<char>(value >> shift & 0xff);
  return text;
}

// A header field without indexing and without Huffman coding (RFC 7541, 6.2.2); both parts under 127 bytes.
std::string HeaderField(std::string_view name, std::string_view value) {
  std::string field(1, '\0');
  for (const std::string_view part : {name, value}) {
    field += static_cast<char>(part.size());
    field += part;
  }
  return field;
}

}  // namespace

Socket::Socket(const std::string& address) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const size_t colon = address.rfind(':');
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &peer.sin_addr);
  if (connect(fd_.get(), reinterpret_cast<sockaddr*>(&peer), sizeof peer) != 0) Die("connect");
}

void Socket::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) Die("send");
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

std::string Socket::ReceiveAll() {
  std::string all;
  char buffer[4096];
  for (;;) {
    const ssize_t received = recv(fd_.get(), buffer, sizeof buffer, 0);
    if (received <= 0) return all;
    all.append(buffer, static_cast<size_t>(received));
  }
}

void Socket::Reset() {
  const linger at_once = {1, 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  fd_ = server::FileDescriptor();
}

Http2Call::Http2Call(const std::string& address, std::string_view path, Headers headers_end)
    : socket_(address) {
  socket_.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  SendFrame(kSettings, 0, 0, "");
  std::string headers;
  headers += HeaderField(":method", "POST") + HeaderField(":scheme", "http") + HeaderField(":path", path);
  headers += HeaderField(":authority", address) + HeaderField("content-type", "application/grpc");
  headers += HeaderField("te", "trailers");
  SendFrame(kHeaders, headers_end == Headers::kEnd ? kEndHeaders : 0, kCallStream, headers);
}

void Http2Call::ContinueHeaders(std::string_view bytes) { SendFrame(kContinuation, 0, kCallStream, bytes); }

void Http2Call::BeginMessage(uint32_t size) { Send(std::string(1, '\0') + BigEndian(size, 4)); }

void Http2Call::Send(std::string_view bytes) { SendFrame(kData, 0, kCallStream, bytes); }

void Http2Call::SendFrame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame = BigEndian(payload.size(), 3);
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  frame += BigEndian(stream, 4);
  frame += payload;
  socket_.Send(frame);
}

}  // namespace kldiv::integration
