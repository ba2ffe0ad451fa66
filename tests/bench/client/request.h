#ifndef KLDIV_TESTS_BENCH_CLIENT_REQUEST_H_
#define KLDIV_TESTS_BENCH_CLIENT_REQUEST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kldiv::bench {

enum class Kind : uint8_t { kEvaluate, kEvaluateBatch, kEvaluateStream };

// How an answer is judged.
enum class Verify : uint8_t {
  kBits,    // the loss is that of the scalar reference, bit for bit
  kClose,   // it is within a relative error of 1e-5: for servers that sum in binary32
  kStatus,  // there is an answer: for servers that evaluate nothing
};

// What is sent, made once from a seed: pairs of fp32 tensors, all alike, reduced by their sum.
class Request {
 public:
  // `pairs`: of a batch, otherwise 1. All at least 1.
  Request(Kind kind, int64_t elements, int pairs);

  Kind kind() const { return kind_; }
  const char* path() const;
  const std::string& bytes() const { return bytes_; }  // the whole message
  const std::vector<float>& input() const { return input_; }
  const std::vector<float>& target() const { return target_; }

  // By the scalar reference; computed at each call.
  double Loss() const;

 private:
  const Kind kind_;
  std::vector<float> input_, target_;
  std::string bytes_;
};

// Judges the answers to one request: the first one by what it says, those after it by being the same bytes.
// Not thread-safe.
class AnswerCheck {
 public:
  AnswerCheck(const Request& request, int pairs, Verify verify);

  // Empty when the answer is right; otherwise what is wrong with it.
  std::string Check(std::string_view answer);
  // The same for a loss that a library has decoded.
  std::string CheckLoss(double loss) const;

 private:
  std::string CheckMessage(std::string_view answer) const;

  const Kind kind_;
  const int pairs_;
  const Verify verify_;
  const double expected_;
  std::string right_;  // the answer, once it is known
};

}  // namespace kldiv::bench

#endif  // KLDIV_TESTS_BENCH_CLIENT_REQUEST_H_
