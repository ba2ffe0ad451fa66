#include "server/observability/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/mutex.h"
#include "server/observability/log_rate_limit.h"

namespace kldiv::server {
namespace {

constexpr int kLibraryLinesPerSecond = 10;

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

// `text` as a JSON string, in its quotes.
std::string JsonString(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
}

// `text` with control characters as \xNN.
std::string OneLine(std::string_view text) {
  std::string line;
  for (const char c : text) {
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
  return JsonString(std::get<std::string>(field.value));
}

// What follows time and level.
std::string TextBody(std::string_view message, std::span<const LogField> fields) {
  std::string body = OneLine(message);
  for (const LogField& field : fields) absl::StrAppend(&body, " ", View(field.name), "=", JsonValue(field));
  return body;
}
std::string JsonBody(std::string_view message, std::span<const LogField> fields) {
  std::string body = absl::StrCat("\"message\":", JsonString(message));
  for (const LogField& field : fields) {
    absl::StrAppend(&body, ",", JsonString(field.name), ":", JsonValue(field));
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
    const std::string body = json_ ? JsonBody(message, fields) : TextBody(message, fields);
    spdlog_.log(SpdlogLevel(level), spdlog::string_view_t(body.data(), body.size()));
  }

 private:
  Mutex mu_;
  bool json_ KLDIV_GUARDED_BY(mu_) = false;
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
