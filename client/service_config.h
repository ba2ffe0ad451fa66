#ifndef KLDIV_CLIENT_SERVICE_CONFIG_H_
#define KLDIV_CLIENT_SERVICE_CONFIG_H_

#include <string>
#include <string_view>

namespace kldiv::internal {

// Whether an address may stand for several servers, over which the calls are then spread: a DNS name with its
// scheme, or a list (ipv4:A:PORT,B:PORT). A plain HOST:PORT is one server, whatever its name resolves to.
bool NamesSeveralServers(std::string_view server);

// gRPC's service config, as JSON.
//
// `retry`: unary calls are tried again (gRFC A6), after the server's pushback where it names one.
// `balance`: calls take turns on all servers that say they are serving (round_robin; gRFC A17 for the health
// watch), instead of all going to the first one reached.
std::string ServiceConfig(bool retry, bool balance);

}  // namespace kldiv::internal

#endif  // KLDIV_CLIENT_SERVICE_CONFIG_H_
