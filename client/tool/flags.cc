#include "client/tool/flags.h"

#include <array>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"

ABSL_FLAG(std::string, server, "127.0.0.1:50051",
          "The server: HOST:PORT, [IPV6]:PORT, dns:///NAME:PORT or unix:/PATH.");
ABSL_FLAG(absl::Duration, timeout, absl::Seconds(30), "Time that the call may take.");
ABSL_FLAG(std::string, format, "text", "text, or json for programs.");
ABSL_FLAG(bool, tls, false, "Encrypt the connection.");
ABSL_FLAG(std::string, server_ca, "", "File with the certificates that a server's must lead to.");
ABSL_FLAG(std::string, client_cert, "", "File with the client's own certificate chain.");
ABSL_FLAG(std::string, client_key, "", "File with that certificate's private key.");
ABSL_FLAG(std::string, client_token_file, "", "File with a token to send with every call.");

ABSL_FLAG(std::string, reduction, "mean",
          "none: every element's loss, to --output; mean: their sum over the number of elements; batchmean: "
          "over the "
          "first dimension, which gives the mean divergence of a batch; sum.");
ABSL_FLAG(bool, log_target, false, "The target holds log-probabilities.");
ABSL_FLAG(std::string, zero_target, "torch",
          "torch: 0 * -inf is NaN, as in PyTorch; skip: an element whose target is exactly 0 counts 0.");
ABSL_FLAG(bool, local, false, "Evaluate in this process, without a server. The result has the same bits.");
ABSL_FLAG(std::string, output, "", "The .npy file to write with --reduction=none.");

namespace kldiv::tool {
namespace {

constexpr absl::Duration kMaxTimeout = absl::Hours(24 * 365);

// The value that goes with `text`. INVALID_ARGUMENT names the flag and its values.
template <typename T, size_t n>
absl::StatusOr<T> Choose(absl::string_view flag, const std::string& text,
                         const std::array<std::pair<const char*, T>, n>& choices) {
  for (const auto& [name, value] : choices) {
    if (text == name) return value;
  }
  const auto name_of = [](std::string* out, const auto& choice) { out->append(choice.first); };
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, "=", text, ": expected one of ", absl::StrJoin(choices, ", ", name_of)));
}

constexpr std::array<std::pair<const char*, Reduction>, 4> kReductions = {
    {{"none", Reduction::kNone},
     {"mean", Reduction::kMean},
     {"batchmean", Reduction::kBatchMean},
     {"sum", Reduction::kSum}}};
constexpr std::array<std::pair<const char*, ZeroTarget>, 2> kZeroTargets = {
    {{"torch", ZeroTarget::kTorch}, {"skip", ZeroTarget::kSkip}}};
constexpr std::array<std::pair<const char*, Format>, 2> kFormats = {
    {{"text", Format::kText}, {"json", Format::kJson}}};

// What the flags name and this version does not do.
absl::Status CheckAbilities() {
  const char* flag = nullptr;
  if (absl::GetFlag(FLAGS_tls)) flag = "tls";
  if (!absl::GetFlag(FLAGS_server_ca).empty()) flag = "server_ca";
  if (!absl::GetFlag(FLAGS_client_cert).empty()) flag = "client_cert";
  if (!absl::GetFlag(FLAGS_client_key).empty()) flag = "client_key";
  if (!absl::GetFlag(FLAGS_client_token_file).empty()) flag = "client_token_file";
  if (flag == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, ": this version has no encrypted connections and no tokens"));
}

}  // namespace

absl::StatusOr<Settings> ReadFlags() {
  if (absl::Status status = CheckAbilities(); !status.ok()) return status;
  Settings settings;
  settings.client.server = absl::GetFlag(FLAGS_server);
  if (settings.client.server.empty()) {
    return absl::InvalidArgumentError(
        "--server is empty; expected HOST:PORT, dns:///NAME:PORT or unix:/PATH");
  }
  const absl::Duration timeout = absl::GetFlag(FLAGS_timeout);
  if (timeout <= absl::ZeroDuration() || timeout > kMaxTimeout) {
    return absl::InvalidArgumentError(absl::StrCat("--timeout=", absl::FormatDuration(timeout),
                                                   ": expected more than 0 and at most a year"));
  }
  settings.timeout = absl::ToChronoNanoseconds(timeout);

  const auto format = Choose("format", absl::GetFlag(FLAGS_format), kFormats);
  if (!format.ok()) return format.status();
  settings.format = *format;
  const auto reduction = Choose("reduction", absl::GetFlag(FLAGS_reduction), kReductions);
  if (!reduction.ok()) return reduction.status();
  settings.reduction = *reduction;
  const auto zero_target = Choose("zero_target", absl::GetFlag(FLAGS_zero_target), kZeroTargets);
  if (!zero_target.ok()) return zero_target.status();
  settings.zero_target = *zero_target;
  settings.log_target = absl::GetFlag(FLAGS_log_target);
  settings.local = absl::GetFlag(FLAGS_local);

  settings.output = absl::GetFlag(FLAGS_output);
  if (settings.reduction == Reduction::kNone && settings.output.empty()) {
    return absl::InvalidArgumentError("--reduction=none needs --output=FILE.npy");
  }
  if (settings.reduction != Reduction::kNone && !settings.output.empty()) {
    return absl::InvalidArgumentError("--output goes with --reduction=none only");
  }
  return settings;
}

std::span<const base::FlagGroup> FlagGroups() {
  static const base::FlagGroup kGroups[] = {
      {"All commands",
       {"server", "timeout", "format", "tls", "server_ca", "client_cert", "client_key", "client_token_file"}},
      {"kldiv eval", {"reduction", "log_target", "zero_target", "local", "output"}}};
  return kGroups;
}

const char* Name(Reduction reduction) {
  for (const auto& [name, value] : kReductions) {
    if (value == reduction) return name;
  }
  return "mean";
}

}  // namespace kldiv::tool
