#ifndef KLDIV_TESTS_WIRE_RANDOM_MESSAGE_H_
#define KLDIV_TESTS_WIRE_RANDOM_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

// Messages by chance: most of them are valid, in one of the many ways to write the same on the wire, and the
// others are wrong in one or two places.
namespace kldiv::wire::testing {

class RandomMessage {
 public:
  explicit RandomMessage(uint64_t seed) : random_(seed) {}

  // An EvaluateRequest, mostly decodable and often valid.
  std::string Request();
  // An EvaluateBatchRequest of a few of them.
  std::string Batch();
  // Changes bytes without regard to what they mean: flips, cuts, doubles, inserts.
  void Damage(std::string* bytes);
  // Sizes of slices that `bytes` many bytes may come in; some are 0.
  std::vector<size_t> Cuts(size_t bytes);

  // Less than `bound`, which is at least 1.
  uint64_t Below(uint64_t bound) { return random_() % bound; }
  // True once in `times`.
  bool OneIn(uint64_t times) { return Below(times) == 0; }

 private:
  using Fields = std::vector<std::string>;  // each with its tag

  std::string Number(uint64_t value);
  std::string TagOf(uint32_t number, int wire_type);
  std::string Field(uint32_t number, uint64_t value);
  std::string Field(uint32_t number, std::string_view bytes);
  std::string UnknownField(int depth);
  uint64_t AnyNumber();
  std::vector<int64_t> Shape();
  void AddShape(const std::vector<int64_t>& shape, Fields* fields);
  void AddTensor(uint32_t number, const std::vector<int64_t>& shape, Fields* request);
  void AddOptions(Fields* request);
  std::string Join(Fields fields, bool shuffle);

  std::mt19937_64 random_;
};

}  // namespace kldiv::wire::testing

#endif  // KLDIV_TESTS_WIRE_RANDOM_MESSAGE_H_
