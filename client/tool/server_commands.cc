#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "client/tool/commands.h"
#include "client/tool/connection_flags.h"

namespace kldiv::tool {
namespace {

// The facts in the order and under the names of kldiv.v1.GetServerInfoResponse.
nlohmann::ordered_json ToJson(const ServerInfo& info) {
  return {{"version", info.version},
          {"backend", info.backend},
          {"devices", info.devices},
          {"max_message_bytes", info.max_message_bytes},
          {"max_queue_bytes", info.max_queue_bytes},
          {"numerics_version", info.numerics_version},
          {"max_pairs_per_message", info.max_pairs_per_message},
          {"max_dimensions", info.max_dimensions},
          {"max_in_flight_per_stream", info.max_in_flight_per_stream},
          {"features", info.features}};
}

// A line "name: value" for each fact; one for each of several values.
std::string ToLines(const nlohmann::ordered_json& facts) {
  std::string lines;
  const auto add = [&lines](const std::string& name, const nlohmann::ordered_json& value) {
    absl::StrAppend(&lines, lines.empty() ? "" : "\n", name, ": ",
                    value.is_string() ? value.get<std::string>() : value.dump());
  };
  for (const auto& [name, value] : facts.items()) {
    if (!value.is_array()) {
      add(name, value);
      continue;
    }
    for (const auto& item : value) add(name, item);
  }
  return lines;
}

}  // namespace

ExitCode Info(const Settings& settings) {
  const absl::StatusOr<std::unique_ptr<Client>> client = Connect(settings.client);
  if (!client.ok()) return Refuse(client.status());
  const absl::StatusOr<ServerInfo> info = (*client)->GetServerInfo({.timeout = settings.timeout});
  if (!info.ok()) return Fail(settings.client.server, info.status());
  const nlohmann::ordered_json facts = ToJson(*info);
  return PrintResult(settings.format == Format::kJson ? facts.dump() : ToLines(facts));
}

ExitCode CheckHealth(const Settings& settings) {
  const absl::StatusOr<std::unique_ptr<Client>> client = Connect(settings.client);
  if (!client.ok()) return Refuse(client.status());
  const absl::StatusOr<Health> health = (*client)->CheckHealth({.timeout = settings.timeout});
  if (!health.ok()) return Fail(settings.client.server, health.status());
  const std::string text = *health == Health::kServing ? "SERVING" : "NOT_SERVING";
  const ExitCode printed = PrintResult(
      settings.format == Format::kJson ? nlohmann::ordered_json({{"status", text}}).dump() : text);
  return *health == Health::kServing ? printed : kFailed;
}

}  // namespace kldiv::tool
