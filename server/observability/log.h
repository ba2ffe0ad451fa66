#ifndef KLDIV_SERVER_OBSERVABILITY_LOG_H_
#define KLDIV_SERVER_OBSERVABILITY_LOG_H_

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/statusor.h"

// The server's log: one line an event, on stderr.
//
//   text: 2026-01-31T12:00:00.000Z warning a connection was refused limit=4096 peer="ipv4:10.0.0.1:5000"
//   json: {"time":"2026-01-31T12:00:00.000Z","level":"warning","message":"a connection was
//   refused","limit":4096}
//
// Times are UTC. Nothing here belongs on the path of a request that succeeds. Thread-safe.
//
// Never waits for who reads it: a line that stderr cannot take now is lost, and the next one that it takes
// says how many were. So that a line fits a pipe that has room, texts over some hundred bytes are cut.
namespace kldiv::server {

enum class LogFormat {
  kAuto,  // text on a terminal, otherwise JSON
  kText,
  kJson,
};

enum class LogLevel { kInfo, kWarning, kError };

// "auto", "text" or "json". INVALID_ARGUMENT names the text and the three.
absl::StatusOr<LogFormat> ParseLogFormat(std::string_view text);

// Sets the format from now on; until the first call it is kAuto.
void SetLogFormat(LogFormat format);

// A detail of an event.
struct LogField {
  std::string_view name;  // letters, digits and underscores; not time, level or message
  std::variant<std::string, int64_t> value;
};

// Writes one line. What would break the line (control characters, bytes that are no UTF-8) is escaped or
// replaced.
void Log(LogLevel level, std::string_view message, std::span<const LogField> fields);
inline void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(level, message, std::span(fields.begin(), fields.size()));
}

// A line that `library` wanted to print. At most 10 a second leave, of all libraries together; how many were
// suppressed is said with the next one.
void LogFromLibrary(std::string_view library, LogLevel level, std::string_view message);

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_OBSERVABILITY_LOG_H_
