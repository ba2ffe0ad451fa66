#include "client/tool/flags.h"

#include <utility>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/tool/choices.h"
#include "client/tool/connection_flags.h"

ABSL_FLAG(absl::Duration, timeout, absl::Seconds(30), "Time that the call may take.");
ABSL_FLAG(std::string, format, "text", "text, or json for programs.");
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

constexpr Choices<ZeroTarget, 2> kZeroTargets = {
    {{"torch", ZeroTarget::kTorch}, {"skip", ZeroTarget::kSkip}}};
constexpr Choices<Format, 2> kFormats = {{{"text", Format::kText}, {"json", Format::kJson}}};

}  // namespace

absl::StatusOr<Settings> ReadFlags() {
  absl::StatusOr<ClientOptions> client = ReadConnectionFlags();
  if (!client.ok()) return client.status();
  Settings settings;
  settings.client = *std::move(client);
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
       {"server", "timeout", "format", "tls", "server_ca", "client_cert", "client_key", "client_token_file",
        "client_allow_plaintext_tokens"}},
      {"kldiv eval", {"reduction", "log_target", "zero_target", "local", "output"}}};
  return kGroups;
}

}  // namespace kldiv::tool
