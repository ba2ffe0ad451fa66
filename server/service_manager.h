#ifndef KLDIV_SERVER_SERVICE_MANAGER_H_
#define KLDIV_SERVER_SERVICE_MANAGER_H_

#include "absl/status/status.h"

namespace kldiv::server {

enum class ServiceState {
  kReady,     // it serves
  kStopping,  // it was told to end, or has to
};

// Tells the service manager that started this process, if one wants to know, as systemd's Type=notify does:
// it names a datagram socket in NOTIFY_SOCKET, by its path or, after an @, in the abstract namespace.
//
// OK without that variable, or with an empty one: nobody wants to know. Otherwise OK means that the socket
// has taken the message. Waits for a second at most where the manager does not read; an error says what
// failed, and changes nothing. Thread-safe as long as nobody changes the environment.
absl::Status TellServiceManager(ServiceState state);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_SERVICE_MANAGER_H_
