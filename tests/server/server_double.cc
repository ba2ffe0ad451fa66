// A double of the server for tests of the program around it. What it does is steered by the variable
// SERVER_DOUBLE, which holds any of "starts_not", "loses_its_device", "drains_never" and "loses_work";
// otherwise all goes well.

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "server/server.h"

namespace kldiv::server {
namespace {

bool Told(std::string_view what) {
  const char* const told = std::getenv("SERVER_DOUBLE");
  return told != nullptr && std::string_view(told).find(what) != std::string_view::npos;
}

class ServerDouble final : public Server {
 public:
  explicit ServerDouble(const ServerOptions& options) : metrics_(options.metrics_listen.has_value()) {
    for (const ListenAddress& address : options.listen) addresses_.push_back(address.ToString());
  }

  const std::vector<std::string>& addresses() const override { return addresses_; }
  std::string metrics_address() const override { return metrics_ ? "127.0.0.1:9464" : "off"; }
  std::string backend() const override { return "cpu"; }
  void AnnounceDrain() override { std::fputs("announced\n", stderr); }
  void BeginDrain() override { std::fputs("begun\n", stderr); }
  bool Drained() const override { return !Told("drains_never"); }
  bool Stop() override { return !Told("loses_work") && !Told("drains_never"); }

 private:
  const bool metrics_;
  std::vector<std::string> addresses_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  if (Told("starts_not")) return absl::InvalidArgumentError("--listen: 127.0.0.1:1: Address already in use");
  if (Told("loses_its_device")) options.on_no_lane_left();
  return std::make_unique<ServerDouble>(options);
}

}  // namespace kldiv::server
