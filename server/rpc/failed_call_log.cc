#include "server/rpc/failed_call_log.h"

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/observability/log.h"
#include "server/observability/log_rate_limit.h"

namespace kldiv::server {
namespace {

constexpr size_t kCodes = 17;
constexpr int kLines = 10;
constexpr std::chrono::seconds kPeriod(10);
constexpr size_t kTextBytes = 200;

// Has the server failed, rather than a client or its patience?
bool IsServersFault(absl::StatusCode code) {
  return code == absl::StatusCode::kInternal || code == absl::StatusCode::kUnknown ||
         code == absl::StatusCode::kDataLoss;
}

std::string Cut(std::string_view text) { return std::string(text.substr(0, kTextBytes)); }
std::string Cut(absl::string_view text) { return Cut(std::string_view(text.data(), text.size())); }

// version "-" trace id "-" parent id "-" flags, in lower-case hexadecimal digits; later versions may append
// to it. Empty when the text has no such form.
std::string_view TraceparentIn(std::string_view text) {
  constexpr std::string_view kForm = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
  if (text.size() < kForm.size() || (text.size() > kForm.size() && text[kForm.size()] != '-')) return {};
  for (size_t i = 0; i < kForm.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool fits = kForm[i] == '-' ? c == '-' : absl::ascii_isxdigit(c) && !absl::ascii_isupper(c);
    if (!fits) return {};
  }
  return text.substr(0, kForm.size());
}

// How many lines with this status were left out before this one; nullopt: it is left out as well.
std::optional<int64_t> Pass(absl::StatusCode code) {
  static std::array<LogRateLimit*, kCodes>& limits = *[] {
    auto* const made = new std::array<LogRateLimit*, kCodes>();
    for (LogRateLimit*& limit : *made) limit = new LogRateLimit(kLines, kPeriod);
    return made;
  }();
  return limits[static_cast<size_t>(code) % kCodes]->Pass(LogRateLimit::Clock::now());
}

}  // namespace

void LogFailedCall(const Call& call, const absl::Status& status, uint64_t request_id,
                   std::chrono::nanoseconds duration) {
  const std::optional<int64_t> suppressed = Pass(status.code());
  if (!suppressed.has_value()) return;
  std::vector<LogField> fields = {{"method", Cut(call.path())},
                                  {"code", absl::StatusCodeToString(status.code())},
                                  {"error", Cut(status.message())},
                                  {"peer", call.peer()},
                                  {"duration_us", duration / std::chrono::microseconds(1)}};
  if (request_id != 0) fields.push_back({"request_id", absl::StrCat(request_id)});
  if (const std::string_view trace = TraceparentIn(call.header("traceparent")); !trace.empty()) {
    fields.push_back({"traceparent", std::string(trace)});
  }
  if (*suppressed > 0) fields.push_back({"suppressed_before", *suppressed});
  Log(IsServersFault(status.code()) ? LogLevel::kWarning : LogLevel::kInfo, "a call failed", fields);
}

}  // namespace kldiv::server
