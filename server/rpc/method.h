#ifndef KLDIV_SERVER_RPC_METHOD_H_
#define KLDIV_SERVER_RPC_METHOD_H_

#include <cstddef>
#include <cstdint>

namespace kldiv::server {

enum class Method : uint8_t {
  kEvaluate,
  kEvaluateBatch,
  kEvaluateStream,
  kGetServerInfo,
  kHealthCheck,
  kHealthWatch,
  kUnknown,  // any other path
};
inline constexpr size_t kMethods = 7;

// Of a known method; empty for kUnknown.
constexpr const char* PathOf(Method method) {
  switch (method) {
    case Method::kEvaluate:
      return "/kldiv.v1.KlDivergence/Evaluate";
    case Method::kEvaluateBatch:
      return "/kldiv.v1.KlDivergence/EvaluateBatch";
    case Method::kEvaluateStream:
      return "/kldiv.v1.KlDivergence/EvaluateStream";
    case Method::kGetServerInfo:
      return "/kldiv.v1.KlDivergence/GetServerInfo";
    case Method::kHealthCheck:
      return "/grpc.health.v1.Health/Check";
    case Method::kHealthWatch:
      return "/grpc.health.v1.Health/Watch";
    case Method::kUnknown:
      break;
  }
  return "";
}

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_METHOD_H_
