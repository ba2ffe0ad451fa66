#include "server/observability/log.h"

#include <poll.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/mutex.h"
#include "server/observability/log_rate_limit.h"

namespace kldiv::server {
namespace {

constexpr int kLibraryLinesPerSecond = 10;

// Of a text once it is written. With its fields, its time and the room that JSON takes, a line stays below
// PIPE_BUF, which is what a pipe that is ready takes without waiting.
constexpr size_t kMessageBytes = 1000;
constexpr size_t kFieldBytes = 350;

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// `text` as a JSON string, in its quotes; cut so that it has at most `max_bytes`.
std::string JsonString(std::string_view text, size_t max_bytes) {
  text = text.substr(0, max_bytes);
  for (;;) {
    std::string written =
        nlohmann::json(text).dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
    if (written.size() <= max_bytes + 2) return written;
    text = text.substr(0, text.size() / 2);
  }
}

// `text` with control characters as \xNN; cut so that it has at most about `max_bytes`.
std::string OneLine(std::string_view text, size_t max_bytes) {
  std::string line;
  for (const char c : text) {
    if (line.size() >= max_bytes) break;
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      absl::StrAppendFormat(&line, "\\x%02x", static_cast<unsigned char>(c));
    } else {
      line += c;
    }
  }
  return line;
}

std::string JsonValue(const LogField& field) {
  if (const auto* number = std::get_if<int64_t>(&field.value)) return absl::StrCat(*number);
  return JsonString(std::get<std::string>(field.value), kFieldBytes);
}

// What follows time and level.
std::string TextBody(std::string_view message, std::span<const LogField> fields) {
  std::string body = OneLine(message, kMessageBytes);
  for (const LogField& field : fields) absl::StrAppend(&body, " ", View(field.name), "=", JsonValue(field));
  return body;
}
std::string JsonBody(std::string_view message, std::span<const LogField> fields) {
  std::string body = absl::StrCat("\"message\":", JsonString(message, kMessageBytes));
  for (const LogField& field : fields) {
    absl::StrAppend(&body, ",\"", View(field.name), "\":", JsonValue(field));
  }
  return body;
}

class Logger {
 public:
  Logger() : spdlog_("kldiv", std::make_shared<spdlog::sinks::stderr_sink_st>()) {
    SetFormat(LogFormat::kAuto);
    spdlog_.flush_on(spdlog::level::info);
  }

  void SetFormat(LogFormat format) {
    MutexLock lock(mu_);
    json_ = format == LogFormat::kJson || (format == LogFormat::kAuto && isatty(STDERR_FILENO) == 0);
    spdlog_.set_pattern(
        json_ ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})" : "%Y-%m-%dT%H:%M:%S.%eZ %l %v",
        spdlog::pattern_time_type::utc);
  }

  void Write(LogLevel level, std::string_view message, std::span<const LogField> fields) {
    MutexLock lock(mu_);
    if (!CanTakeALine()) {
      ++lost_;
      return;
    }
    const int64_t lost = std::exchange(lost_, 0);
    if (lost > 0)
      WriteLine(LogLevel::kWarning, "lines were lost: stderr took none",
                std::vector<LogField>{{"lines", lost}});
    if (lost == 0 || CanTakeALine()) return WriteLine(level, message, fields);
    lost_ = 1;
  }

 private:
  // Another process may fill the pipe at the same moment, and would have this one wait; nobody does that for
  // long.
  static bool CanTakeALine() {
    pollfd polled = {STDERR_FILENO, POLLOUT, 0};
    return poll(&polled, 1, 0) == 1 && (polled.revents & POLLOUT) != 0;
  }

  void WriteLine(LogLevel level, std::string_view message, std::span<const LogField> fields)
      KLDIV_REQUIRES(mu_) {
    const std::string body = json_ ? JsonBody(message, fields) : TextBody(message, fields);
    spdlog_.log(SpdlogLevel(level), spdlog::string_view_t(body.data(), body.size()));
  }

  Mutex mu_;
  bool json_ KLDIV_GUARDED_BY(mu_) = false;
  int64_t lost_ KLDIV_GUARDED_BY(mu_) = 0;
  spdlog::logger spdlog_ KLDIV_GUARDED_BY(mu_);
};

// Never destroyed: threads of libraries may log while the process ends.
Logger& TheLogger() {
  static Logger& logger = *new Logger();
  return logger;
}

}  // namespace

absl::StatusOr<LogFormat> ParseLogFormat(std::string_view text) {
  if (text == "auto") return LogFormat::kAuto;
  if (text == "text") return LogFormat::kText;
  if (text == "json") return LogFormat::kJson;
  return absl::InvalidArgumentError(absl::StrCat("\"", View(text), "\" is not one of auto, text, json"));
}

void SetLogFormat(LogFormat format) { TheLogger().SetFormat(format); }

void Log(LogLevel level, std::string_view message, std::span<const LogField> fields) {
  TheLogger().Write(level, message, fields);
}

void LogFromLibrary(std::string_view library, LogLevel level, std::string_view message) {
  static LogRateLimit& limit = *new LogRateLimit(kLibraryLinesPerSecond, std::chrono::seconds(1));
  const std::optional<int64_t> suppressed = limit.Pass(LogRateLimit::Clock::now());
  if (!suppressed) return;
  if (*suppressed == 0) return Log(level, message, {{"library", std::string(library)}});
  Log(level, message, {{"library", std::string(library)}, {"suppressed_before", *suppressed}});
}

}  // namespace kldiv::server
