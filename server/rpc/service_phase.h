#ifndef KLDIV_SERVER_RPC_SERVICE_PHASE_H_
#define KLDIV_SERVER_RPC_SERVICE_PHASE_H_

#include <cstdint>

namespace kldiv::server {

enum class ServicePhase : uint8_t {
  kServing,
  kLameDuck,  // health says NOT_SERVING, all else is as before
  kRefusing,  // new calls are refused; streams end when what they accepted is answered
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_SERVICE_PHASE_H_
