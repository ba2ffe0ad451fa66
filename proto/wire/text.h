#ifndef KLDIV_PROTO_WIRE_TEXT_H_
#define KLDIV_PROTO_WIRE_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace kldiv::wire {

// `text` as a proto3 string may hold it: valid UTF-8, with '?' for each byte that is not part of a character.
// At most `max_bytes`: cut before the first character that does not fit.
std::string ValidUtf8(std::string_view text, size_t max_bytes);

}  // namespace kldiv::wire

#endif  // KLDIV_PROTO_WIRE_TEXT_H_
