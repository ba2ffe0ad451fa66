#include "server/service_manager.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "server/net/listening_socket.h"

namespace kldiv::server {
namespace {

constexpr timeval kPatience{.tv_sec = 1, .tv_usec = 0};

std::string_view MessageOf(ServiceState state) {
  switch (state) {
    case ServiceState::kReady:
      return "READY=1";
    case ServiceState::kStopping:
      return "STOPPING=1";
  }
  return "";
}

absl::Status Failed(const char* name, const char* call) {
  return absl::ErrnoToStatus(errno, absl::StrCat("NOTIFY_SOCKET=", name, ": ", call));
}

}  // namespace

absl::Status TellServiceManager(ServiceState state) {
  const char* const name = std::getenv("NOTIFY_SOCKET");
  if (name == nullptr || *name == '\0') return absl::OkStatus();
  const size_t length = std::strlen(name);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const bool is_abstract = *name == '@';
  if ((!is_abstract && *name != '/') || length >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("NOTIFY_SOCKET=", name, ": no path of a Unix socket"));
  }
  std::memcpy(address.sun_path, name, length);
  if (is_abstract) address.sun_path[0] = '\0';

  const FileDescriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return Failed(name, "socket");
  if (setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience) != 0) {
    return Failed(name, "setsockopt");
  }
  const std::string_view message = MessageOf(state);
  // The length counts: an abstract name has no end of its own.
  const auto address_length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  if (sendto(socket.get(), message.data(), message.size(), MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&address), address_length) < 0) {
    return Failed(name, "sendto");
  }
  return absl::OkStatus();
}

}  // namespace kldiv::server
