#ifndef KLDIV_CLIENT_LOAD_CLIENT_TARGET_H_
#define KLDIV_CLIENT_LOAD_CLIENT_TARGET_H_

#include <memory>
#include <vector>

#include "client/load/target.h"

// A server, through the client library.
namespace kldiv::load {

enum class Mode : uint8_t {
  kUnary,   // Evaluate: one pair a call
  kBatch,   // EvaluateBatch: a call's pairs in one message
  kStream,  // EvaluateStream: one pair a call, over one stream to each connection
};

// Calls over `clients`, each of which is one connection.
//
// A stream that ends is opened again by the next call; those under way on it fail with its status. Its calls
// have no deadline of the client's own, only the server's: one that has no answer from a server that stopped
// ends when the connection is given up, 25 s later.
std::unique_ptr<Target> MakeTarget(Mode mode, std::vector<std::unique_ptr<Client>> clients);

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_CLIENT_TARGET_H_
