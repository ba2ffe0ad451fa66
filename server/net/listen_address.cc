#include "server/net/listen_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace kldiv::server {
namespace {

constexpr size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;

absl::Status Malformed(absl::string_view text, absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\": ", expected));
}

bool ParsePort(absl::string_view text, int* port) {
  const bool digits = !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
  return digits && absl::SimpleAtoi(text, port) && *port <= 65535;
}

absl::StatusOr<ListenAddress> ParseUnix(absl::string_view text, absl::string_view path) {
  if (path.empty()) return Malformed(text, "expected a path after unix:");
  if (path.size() > kMaxPath) {
    return Malformed(
        text, absl::StrCat("a socket's path has at most ", kMaxPath, " bytes, this one ", path.size()));
  }
  ListenAddress address;
  address.path = std::string(path);
  return address;
}

}  // namespace

bool ListenAddress::is_loopback() const {
  if (!is_tcp()) return false;
  if (host == "localhost") return true;
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

std::string ListenAddress::ToString() const {
  if (!is_tcp()) return absl::StrCat("unix:", path);
  const bool brackets = absl::StrContains(host, ':');
  return absl::StrCat(brackets ? "[" : "", host, brackets ? "]" : "", ":", port);
}

absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view std_text) {
  const absl::string_view text(std_text.data(), std_text.size());
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "unix:")) return ParseUnix(text, rest);

  constexpr absl::string_view kExpected = "expected HOST:PORT, [IPV6]:PORT or unix:PATH";
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return Malformed(text, kExpected);
  absl::string_view host = text.substr(0, colon);
  const bool brackets = absl::ConsumePrefix(&host, "[");
  if (brackets != absl::ConsumeSuffix(&host, "]")) return Malformed(text, kExpected);
  if (!brackets && absl::StrContains(host, ':'))
    return Malformed(text, "an IPv6 address needs brackets: [IPV6]:PORT");
  if (host.empty())
    return Malformed(text, "expected a host before the port, 0.0.0.0 for all of this machine's");

  ListenAddress address;
  address.host = std::string(host);
  if (!ParsePort(text.substr(colon + 1), &address.port))
    return Malformed(text, "a port is a number from 0 to 65535");
  return address;
}

}  // namespace kldiv::server
