#include <fcntl.h>
#include <pthread.h>

// One thread runs all handlers, so nothing has to be fenced between them; and ThreadSanitizer knows no
// fences.
#define BOOST_ASIO_DISABLE_FENCED_BLOCK 1

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/net/listening_socket.h"
#include "server/observability/log.h"
#include "server/observability/metrics.h"

namespace kldiv::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;
using Error = boost::system::error_code;

constexpr std::chrono::seconds kRequestTimeout(5);
constexpr std::chrono::seconds kAnswerTimeout(10);
constexpr std::chrono::milliseconds kPauseAfterAcceptError(200);
constexpr size_t kMaxRequestBytes = 8 << 10;
constexpr size_t kMaxConnections = 16;

// A connection: one request, one answer. Alive as long as something of it is under way.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(tcp::socket socket, const MetricsServer::Snapshot& snapshot)
      : stream_(std::move(socket)), snapshot_(snapshot) {}

  // What is under way fails.
  void Close() { stream_.close(); }

  void Start() {
    parser_.header_limit(kMaxRequestBytes);
    stream_.expires_after(kRequestTimeout);
    http::async_read(stream_, buffer_, parser_, [self = shared_from_this()](Error error, size_t) {
      if (!error) self->Answer();
    });
  }

 private:
  void Answer() {
    const auto& request = parser_.get();
    answer_.version(request.version());
    answer_.keep_alive(false);
    const bool head = request.method() == http::verb::head;
    if (!head && request.method() != http::verb::get) {
      Fill(http::status::method_not_allowed, "text/plain", "only GET and HEAD\n");
    } else if (const auto path = request.target(); path.substr(0, path.find('?')) != "/metrics") {
      Fill(http::status::not_found, "text/plain", "only /metrics\n");
    } else {
      Fill(http::status::ok, "text/plain; version=0.0.4; charset=utf-8", PrometheusText(snapshot_()));
    }
    answer_.prepare_payload();
    if (head) answer_.body().clear();  // The headers tell of it.
    stream_.expires_after(kAnswerTimeout);
    http::async_write(stream_, answer_, [self = shared_from_this()](Error, size_t) {
      Error ignored;
      self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    });
  }

  void Fill(http::status status, const char* type, std::string body) {
    answer_.result(status);
    answer_.set(http::field::content_type, type);
    answer_.body() = std::move(body);
  }

  beast::tcp_stream stream_;
  beast::flat_buffer buffer_{kMaxRequestBytes};
  http::request_parser<http::empty_body> parser_;
  http::response<http::string_body> answer_;
  const MetricsServer::Snapshot& snapshot_;
};

class MetricsServerImpl final : public MetricsServer {
 public:
  explicit MetricsServerImpl(std::vector<ListeningSocket> sockets) : sockets_(std::move(sockets)) {}

  ~MetricsServerImpl() override {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

  void Start(Snapshot snapshot) override {
    snapshot_ = std::move(snapshot);
    acceptors_.reserve(sockets_.size());
    for (const ListeningSocket& socket : sockets_) {
      // A descriptor for each owner: Asio closes its own.
      const int fd = fcntl(socket.fd(), F_DUPFD_CLOEXEC, 0);
      Acceptor& acceptor = acceptors_.emplace_back(io_);
      Error error;
      acceptor.socket.assign(tcp::v4(), fd,
                             error);  // The protocol matters to sockets that are yet to be made.
      if (error) Log(LogLevel::kError, "metrics are not shown", {{"error", error.message()}});
      if (!error) Accept(acceptor);
    }
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "kldiv-metrics");
      io_.run();
    });
  }

  std::string address() const override { return sockets_.front().address().ToString(); }

 private:
  struct Acceptor {
    explicit Acceptor(asio::io_context& io) : socket(io), pause(io) {}
    tcp::acceptor socket;
    asio::steady_timer pause;
  };

  void Accept(Acceptor& acceptor) {
    acceptor.socket.async_accept([this, &acceptor](Error error, tcp::socket connection) {
      if (error == asio::error::operation_aborted) return;
      if (error) return AcceptLater(acceptor, error);
      Begin(std::move(connection));
      Accept(acceptor);
    });
  }

  // Where there are too many, the oldest gives way: whoever asks is done sooner than whoever only connects.
  void Begin(tcp::socket connection) {
    std::erase_if(exchanges_, [](const auto& exchange) { return exchange.expired(); });
    if (exchanges_.size() == kMaxConnections) {
      if (const auto oldest = exchanges_.front().lock()) oldest->Close();
      exchanges_.pop_front();
    }
    const auto exchange = std::make_shared<Exchange>(std::move(connection), snapshot_);
    exchanges_.push_back(exchange);
    exchange->Start();
  }

  // There is no descriptor, say: the next try fails as well, for a while.
  void AcceptLater(Acceptor& acceptor, Error error) {
    LogFromLibrary("asio", LogLevel::kWarning, "a scraper's connection was not accepted: " + error.message());
    acceptor.pause.expires_after(kPauseAfterAcceptError);
    acceptor.pause.async_wait([this, &acceptor](Error stopped) {
      if (!stopped) Accept(acceptor);
    });
  }

  const std::vector<ListeningSocket> sockets_;
  Snapshot snapshot_;
  std::deque<std::weak_ptr<Exchange>> exchanges_;  // the thread's; the oldest first
  asio::io_context io_{1};
  std::vector<Acceptor> acceptors_;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Open(const ListenAddress& address) {
  absl::StatusOr<std::vector<ListeningSocket>> sockets = ListeningSocket::Open(address);
  if (!sockets.ok()) return sockets.status();
  return std::make_unique<MetricsServerImpl>(*std::move(sockets));
}

}  // namespace kldiv::server
