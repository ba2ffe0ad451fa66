#ifndef KLDIV_CLIENT_H_
#define KLDIV_CLIENT_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

/// \file
/// The C++ client of kldiv, a server that evaluates the Kullback-Leibler divergence of pairs of tensors.
///
/// The formula, its arguments and its special values are those of torch.nn.KLDivLoss
/// (https://pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html): with x the input (log-probabilities
/// of the model) and t the target (observed probabilities), the loss of one element is
///
///     t * (log t - x)        and with log_target, where t holds log-probabilities,
///     exp(t) * (t - x)
///
/// in natural logarithms, so losses are in nats. Nothing is normalised, clamped or smoothed. The sum over a
/// distribution is KL(target || exp(input)); `kBatchMean` over a batch of distributions is their mean
/// divergence, which `kMean` is not: it divides by the number of elements.
///
///     auto client = kldiv::Client::Create({.server = "127.0.0.1:50051"});
///     const int64_t shape[] = {2, 3};
///     kldiv::Pair pair = {.input = {log_q, shape}, .target = {p, shape}};
///     pair.reduction = kldiv::Reduction::kBatchMean;
///     absl::StatusOr<kldiv::Evaluation> answer = (*client)->Evaluate(pair);
///     if (answer.ok()) std::cout << *answer->loss << '\n';
namespace kldiv {

/// Element types; little-endian.
enum class DType : uint8_t {
  kFp16 = 1,  ///< IEEE binary16, 2 bytes
  kBf16 = 2,  ///< bfloat16, 2 bytes
  kFp32 = 3,  ///< IEEE binary32, 4 bytes
  kFp64 = 4,  ///< IEEE binary64, 8 bytes
};

/// What is made of the elements' losses.
enum class Reduction : uint8_t {
  kNone = 1,       ///< nothing: every element's loss is returned
  kMean = 2,       ///< their sum, divided by the number of elements
  kBatchMean = 3,  ///< their sum, divided by shape[0] (not at all without dimensions)
  kSum = 4,        ///< their sum
};

/// What an element counts whose target probability is exactly 0 (with log_target: -inf).
enum class ZeroTarget : uint8_t {
  kTorch = 0,  ///< as in PyTorch: 0, but NaN where the input is -inf, and NaN with log_target
  kSkip = 1,   ///< 0, unless the input is NaN; it still counts in the divisor
};

/// The reduction that PyTorch's deprecated arguments stand for, when either is given: a missing one counts as
/// true; (true, true) is kMean, (false, true) kSum, and without `reduce` it is kNone. They override
/// `reduction`.
Reduction FromLegacy(std::optional<bool> size_average, std::optional<bool> reduce);

/// A view of a dense, row-major tensor. Owns nothing; see Client for how long its memory must live.
struct Tensor {
  DType dtype = DType::kFp32;
  std::span<const int64_t> shape;   ///< 0 to 64 dimensions, none negative; no dimensions: one element
  std::span<const std::byte> data;  ///< (product of shape) elements of dtype, at any alignment

  Tensor() = default;
  Tensor(DType type, std::span<const int64_t> dimensions, std::span<const std::byte> bytes)
      : dtype(type), shape(dimensions), data(bytes) {}
  Tensor(std::span<const float> values, std::span<const int64_t> dimensions)
      : dtype(DType::kFp32), shape(dimensions), data(std::as_bytes(values)) {}
  Tensor(std::span<const double> values, std::span<const int64_t> dimensions)
      : dtype(DType::kFp64), shape(dimensions), data(std::as_bytes(values)) {}
};

/// Two tensors of one shape and what is asked about them. The dtypes may differ.
struct Pair {
  Tensor input;   ///< x, log-probabilities
  Tensor target;  ///< t, probabilities; log-probabilities with log_target
  Reduction reduction = Reduction::kMean;
  bool log_target = false;
  ZeroTarget zero_target = ZeroTarget::kTorch;
  /// In EvaluateBatch and on a Stream, this pair's own deadline, from its receipt by the server. Unset: in a
  /// batch the call's, on a stream the client's default.
  std::optional<std::chrono::nanoseconds> timeout = std::nullopt;
  bool want_timing = false;  ///< fill Evaluation::timing
};

/// Where the time of an evaluation went, on the server.
struct Timing {
  std::chrono::nanoseconds queue{0};    ///< from admission to the start of computing
  std::chrono::nanoseconds compute{0};  ///< to the last tile sum, of the whole batch
  std::chrono::nanoseconds total{0};    ///< from the call's headers to handing over the answer
  int32_t batch_pairs = 0;              ///< pairs that were computed together
};

/// Every element's loss, dense and row-major.
struct Pointwise {
  DType dtype = DType::kFp32;  ///< PyTorch's promotion of the two dtypes: FP16 with BF16 gives FP32
  std::vector<int64_t> shape;  ///< that of the pair
  std::string data;            ///< little-endian bytes, (product of shape) elements

  /// The elements, for T the type of `dtype` (float or double); empty for any other T.
  template <typename T>
  std::span<const T> values() const {
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);
    if (dtype != (std::is_same_v<T, float> ? DType::kFp32 : DType::kFp64)) return {};
    return {reinterpret_cast<const T*>(data.data()), data.size() / sizeof(T)};
  }
};

/// The answer to one pair.
struct Evaluation {
  std::optional<double> loss;          ///< in nats; unset for Reduction::kNone
  std::optional<Pointwise> pointwise;  ///< only for Reduction::kNone
  int64_t element_count = 0;
  std::optional<Timing> timing;  ///< only where it was asked for
};

/// The server's own limits and abilities.
struct ServerInfo {
  std::string version;
  std::string backend;                ///< "cpu", or "cuda" when at least one device serves
  std::vector<std::string> devices;   ///< "AVX-512, 2 threads"
  int64_t max_message_bytes = 0;      ///< of a request message
  int64_t max_queue_bytes = 0;        ///< of accepted and unanswered work
  uint32_t numerics_version = 0;      ///< same number, same bits
  int64_t max_pairs_per_message = 0;  ///< in EvaluateBatch
  int32_t max_dimensions = 0;
  int32_t max_in_flight_per_stream =
      0;  ///< pairs that a stream may have unanswered before the server stops reading
  std::vector<std::string> features;  ///< names of optional abilities
};

enum class Health : uint8_t { kServing, kNotServing };

/// How a client reaches its server.
struct ClientOptions {
  /// host:port, [v6]:port or unix:/path: one server. dns:///name:port, or ipv4:address:port,address:port: all
  /// the servers that the name has addresses of, or that are listed. Calls take turns on those that say that
  /// they are serving; the name is looked up again, at most once a second, when a connection ends.
  std::string server = "127.0.0.1:50051";
  std::chrono::nanoseconds default_timeout = std::chrono::seconds(30);  ///< of a call; positive
  /// Try again, within the call's deadline and at most 5 times in all, what ended with UNAVAILABLE,
  /// RESOURCE_EXHAUSTED or a CANCELLED that was not the caller's: after the pause that the server asks for,
  /// else after one of at most about 50 ms that doubles each time, up to 1 s. Nothing is tried again while
  /// too much fails (500 calls more than a tenth of those that are answered). What comes back in the end is
  /// the server's last status. A stream sends its unanswered pairs again.
  bool retry = true;

  bool tls = false;  ///< encrypt the connection, and have the server prove who it is
  /// PEM file with the authorities that its certificate must lead to; empty: the system's
  std::string server_ca = "";
  std::string client_cert = "";  ///< PEM file with the certificate chain to show; empty: none
  std::string client_key = "";   ///< PEM file with its private key
  /// File with a token that is sent with every call, as `authorization: Bearer TOKEN`. It is looked at each
  /// second, so that it can be replaced; a stream whose token is no longer valid goes on with a new one.
  std::string token_file = "";
  /// Send the token without tls, too, to addresses that are not this machine's.
  bool allow_plaintext_tokens = false;
};

struct CallOptions {
  /// From the call to its answer; positive. Unset: the client's default. For a stream, the time until it has
  /// to be over; unset: no limit for the stream, while each of its pairs has the client's default.
  std::optional<std::chrono::nanoseconds> timeout = std::nullopt;
};

/// When the server asks that the call be repeated after a pause (it does so where it sheds load), that pause.
std::optional<std::chrono::milliseconds> RetryAfter(const absl::Status& status);

/// One pair's answer on a stream.
struct StreamResult {
  uint64_t request_id = 0;  ///< that of the Write
  absl::StatusOr<Evaluation> evaluation;
};

/// Pairs and answers that overtake each other on one call.
///
/// One thread may write while another reads; more than one of a kind need a lock around them. A caller that
/// writes many pairs reads on another thread: the server stops reading when too many answers are unread, and
/// Write then waits. Destroying a stream cancels what has not been answered; no other thread uses it then. It
/// may outlive its Client.
///
/// A server may end its side: it drains, it is shut down, or it has too many idle streams. Unless
/// ClientOptions::retry is off (and for the last reason even so) the stream goes on on a new call, on which
/// the pairs without a result are sent again: it keeps a copy of their bytes until then. A pair whose own
/// time is over by then results in DEADLINE_EXCEEDED. The order in which results come says nothing.
class Stream {
 public:
  virtual ~Stream() = default;

  /// Sends a pair. Waits only for flow control, or while pairs are sent again. The pair's bytes are copied:
  /// when it returns, the pair's memory is free again.
  ///
  /// `request_id` is the caller's own and need not be unique. INVALID_ARGUMENT: the message exceeds the
  /// server's limit; the stream goes on. FAILED_PRECONDITION: after WritesDone. Otherwise the status with
  /// which the stream has ended. A pair that the server refuses has that as its result.
  virtual absl::Status Write(const Pair& pair, uint64_t request_id) = 0;

  /// The next result, in any order; waits for it. None when everything has been answered after WritesDone,
  /// else the status with which the stream has ended: pairs without a result have this one.
  virtual absl::StatusOr<std::optional<StreamResult>> Read() = 0;

  /// No more pairs will be written. Idempotent. Results may still be read.
  virtual absl::Status WritesDone() = 0;
};

/// A connection to a server. Thread-safe.
///
/// Memory: a pair's tensor bytes are sent from where they lie, without being copied. They must stay unchanged
/// until the call completes: until the function returns, the callback runs or the future is
/// ready. A call completes when it has its status and the network has let go of every byte. A peer that
/// grants a large window and then takes no data can delay this past the call's deadline, until the connection
/// is given up: up to 25 s later (keepalive: a ping after 20 s, 5 s to answer it), on a unix-domain socket
/// until the peer reads on or ends. kldiv-server's windows are smaller than a socket's buffers: it delays
/// nothing, even when it is stopped. Shapes are copied at once.
///
/// Errors: the server's status code and text are passed on. INVALID_ARGUMENT with a text about
/// --max_message_bytes comes from the library: it asks a server once for its limit (GetServerInfo, at the
/// first message over 1 MiB) and sends no larger message. Calls to a server that cannot be reached fail with
/// UNAVAILABLE; a lost connection is tried again after 100 ms, then less often, at least once in about a
/// second.
class Client {
 public:
  /// INVALID_ARGUMENT when an option is not valid. Does not wait for a connection: the first call makes it.
  static absl::StatusOr<std::unique_ptr<Client>> Create(ClientOptions options);

  /// Cancels outstanding asynchronous calls and waits for their callbacks: never destroy a client in one.
  virtual ~Client() = default;

  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Evaluates one pair. DEADLINE_EXCEEDED when no answer came in time; INVALID_ARGUMENT for a pair that is
  /// not valid, with the field, what came and what was expected; RESOURCE_EXHAUSTED when the server sheds
  /// load (see RetryAfter).
  virtual absl::StatusOr<Evaluation> Evaluate(const Pair& pair, const CallOptions& options = {}) = 0;

  /// The same without waiting. `done` is called exactly once, on a thread of the client, where it must not
  /// wait for other calls of this client; or before EvaluateAsync returns, when the request is refused
  /// locally.
  virtual void EvaluateAsync(const Pair& pair, const CallOptions& options,
                             std::function<void(absl::StatusOr<Evaluation>)> done) = 0;

  /// The same as a future. It becomes ready at the latest when the client is destroyed.
  virtual std::future<absl::StatusOr<Evaluation>> EvaluateFuture(const Pair& pair,
                                                                 const CallOptions& options = {}) = 0;

  /// Evaluates many pairs in one message. Accepted or refused as a whole, by the call's status; a pair's own
  /// fault is its own status. As many results as pairs, in their order.
  virtual absl::StatusOr<std::vector<absl::StatusOr<Evaluation>>> EvaluateBatch(
      std::span<const Pair> pairs, const CallOptions& options = {}) = 0;

  /// The same without waiting, as EvaluateAsync does it. The pairs themselves may go when it returns; their
  /// tensors' memory has to stay.
  virtual void EvaluateBatchAsync(
      std::span<const Pair> pairs, const CallOptions& options,
      std::function<void(absl::StatusOr<std::vector<absl::StatusOr<Evaluation>>>)> done) = 0;

  /// A stream; it is opened by its first Write.
  virtual absl::StatusOr<std::unique_ptr<Stream>> OpenStream(const CallOptions& options = {}) = 0;

  virtual absl::StatusOr<ServerInfo> GetServerInfo(const CallOptions& options = {}) = 0;

  /// Whether the server takes calls (grpc.health.v1). An error: it could not be asked.
  virtual absl::StatusOr<Health> CheckHealth(const CallOptions& options = {}) = 0;

 protected:
  Client() = default;
};

}  // namespace kldiv

#endif  // KLDIV_CLIENT_H_
