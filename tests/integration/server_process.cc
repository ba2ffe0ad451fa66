#include "tests/integration/server_process.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "tests/integration/http2_client.h"

namespace kldiv::integration {
namespace {

constexpr std::chrono::seconds kPatience{30};

std::vector<std::string> CommandLine(std::vector<std::string> flags) {
  std::vector<std::string> arguments = {ServerBinary(), "--metrics_listen=127.0.0.1:0"};
  bool listens = false;
  for (std::string& flag : flags) {
    listens = listens || flag.rfind("--listen", 0) == 0;
    arguments.push_back(std::move(flag));
  }
  if (!listens) arguments.push_back("--listen=127.0.0.1:0");
  return arguments;
}

}  // namespace

std::string ServerBinary() {
  const char* const elsewhere = std::getenv("KLDIV_SERVER_BINARY");
  return elsewhere != nullptr ? elsewhere : KLDIV_SERVER_BINARY;
}

ServerProcess::ServerProcess(std::vector<std::string> flags)
    : process_(CommandLine(std::move(flags))), ready_line_(process_.OutputLine()) {
  // "listening on A[,B...] metrics=ADDRESS backend=NAME"
  std::stringstream words(ready_line_);
  std::string listening, on, addresses, metrics, backend, more;
  words >> listening >> on >> addresses >> metrics >> backend >> more;
  constexpr char kMetrics[] = "metrics=";
  if (listening != "listening" || on != "on" || metrics.rfind(kMetrics, 0) != 0 ||
      backend.rfind("backend=", 0) != 0 || !more.empty()) {
    ADD_FAILURE() << "not a ready line: " << ready_line_ << "; the server said: " << process_.Errors();
    std::abort();
  }
  std::stringstream list(addresses);
  for (std::string address; std::getline(list, address, ',');) addresses_.push_back(address);
  metrics_address_ = metrics.substr(sizeof kMetrics - 1);
}

std::shared_ptr<grpc::Channel> ServerProcess::NewChannelTo(const std::string& address) {
  static std::atomic<int> channels{0};
  grpc::ChannelArguments arguments;
  arguments.SetInt("kldiv.test.channel", ++channels);  // Equal channels would share a connection.
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

std::string ServerProcess::Scrape() const {
  Socket socket(metrics_address_);
  socket.Send("GET /metrics HTTP/1.0\r\n\r\n");
  return socket.ReceiveAll();
}

int64_t ServerProcess::Metric(const std::string& name) const {
  std::stringstream lines(Scrape());
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(name + " ", 0) == 0) return static_cast<int64_t>(std::stod(line.substr(name.size() + 1)));
  }
  return -1;
}

std::vector<std::string> ServerProcess::SeriesWith(const std::string& name) const {
  std::vector<std::string> series;
  std::stringstream lines(Scrape());
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(name + "{", 0) == 0) series.push_back(line.substr(0, line.rfind(' ')));
  }
  return series;
}

bool ServerProcess::WaitForMetric(const std::string& name, int64_t value) const {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (Metric(name) != value) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

bool ServerProcess::WaitUntilBalanced() const {
  return WaitForMetric("kldiv_calls_in_flight", 0) && WaitForMetric("kldiv_queue_bytes", 0) &&
         Metric("kldiv_pairs_admitted_total") == Metric("kldiv_pairs_completed_total");
}

}  // namespace kldiv::integration
