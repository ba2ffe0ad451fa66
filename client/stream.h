#ifndef KLDIV_CLIENT_STREAM_H_
#define KLDIV_CLIENT_STREAM_H_

#include <memory>
#include <optional>

#include "client/connection.h"
#include "client/include/kldiv/client.h"

namespace kldiv::internal {

// A stream over `connection` that ends at `deadline`, if there is one. See kldiv::Stream.
std::unique_ptr<Stream> MakeStream(std::shared_ptr<Connection> connection, std::optional<Deadline> deadline);

}  // namespace kldiv::internal

#endif  // KLDIV_CLIENT_STREAM_H_
