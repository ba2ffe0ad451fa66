#include "tests/integration/http2_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

namespace kldiv::integration {
namespace {

constexpr uint8_t kData = 0;
constexpr uint8_t kHeaders = 1;
constexpr uint8_t kResetStream = 3;
constexpr uint8_t kSettings = 4;
constexpr uint8_t kContinuation = 9;
constexpr uint8_t kEndHeaders = 4;
constexpr uint32_t kCancel = 8;  // why a stream is reset

[[noreturn]] void Die(const char* what) {
  std::cerr << what << " failed\n";
  std::abort();
}

std::string BigEndian(uint64_t value, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) text += static_cast<char>(value >> shift & 0xff);
  return text;
}

std::string FrameOf(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame = BigEndian(payload.size(), 3);
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  frame += BigEndian(stream, 4);
  frame += payload;
  return frame;
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
  if (!TrySend(bytes)) Die("send");
}

bool Socket::TrySend(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
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

bool Socket::ReceiveUntil(std::string_view bytes, std::chrono::milliseconds patience) {
  std::string all;
  char buffer[4096];
  pollfd readable = {fd_.get(), POLLIN, 0};
  while (all.find(bytes) == std::string::npos) {
    if (poll(&readable, 1, static_cast<int>(patience.count())) <= 0) return false;
    const ssize_t received = recv(fd_.get(), buffer, sizeof buffer, 0);
    if (received <= 0) return false;
    all.append(buffer, static_cast<size_t>(received));
  }
  return true;
}

bool Socket::WaitUntilClosed(std::chrono::milliseconds patience) const {
  pollfd closed = {fd_.get(), POLLRDHUP, 0};
  return poll(&closed, 1, static_cast<int>(patience.count())) > 0;
}

void Socket::Reset() {
  const linger at_once = {1, 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  fd_ = server::FileDescriptor();
}

Http2Call::Http2Call(const std::string& address, std::string_view path, Headers headers)
    : authority_(address), socket_(address) {
  socket_.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  socket_.Send(FrameOf(kSettings, 0, 0, ""));
  socket_.Send(HeadersFrame(path, headers));
}

void Http2Call::ContinueHeaders(std::string_view bytes) { socket_.Send(Frame(kContinuation, 0, bytes)); }

void Http2Call::BeginMessage(uint32_t size) {
  std::string prefix(1, '\0');
  prefix += BigEndian(size, 4);
  Send(prefix);
}

void Http2Call::Send(std::string_view bytes) { socket_.Send(Frame(kData, 0, bytes)); }

bool Http2Call::CallAgain(std::string_view path) {
  stream_ += 2;  // Those that a client opens are odd.
  return socket_.TrySend(HeadersFrame(path, Headers::kEnd));
}

bool Http2Call::CancelAndCall(std::string_view path) {
  return socket_.TrySend(Frame(kResetStream, 0, BigEndian(kCancel, 4))) && CallAgain(path);
}

std::string Http2Call::Frame(uint8_t type, uint8_t flags, std::string_view payload) const {
  return FrameOf(type, flags, stream_, payload);
}

std::string Http2Call::HeadersFrame(std::string_view path, Headers headers) const {
  std::string fields;
  fields += HeaderField(":method", "POST") + HeaderField(":scheme", "http") + HeaderField(":path", path);
  fields += HeaderField(":authority", authority_) + HeaderField("content-type", "application/grpc");
  fields += HeaderField("te", "trailers");
  return Frame(kHeaders, headers == Headers::kEnd ? kEndHeaders : 0, fields);
}

}  // namespace kldiv::integration
