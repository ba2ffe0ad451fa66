#include <cstring>
#include <map>
#include <sstream>

#include "tests/golden/encoding.h"
#include "tests/golden/formats.h"
#include "tests/golden/golden.h"

namespace kldiv::golden {
namespace {

std::string Hexadecimal(uint64_t bits) {
  std::ostringstream text;
  text << std::hex << bits;
  return text.str();
}

class FrozenCase : public Case {
 public:
  std::map<Reduction, uint64_t> losses;
  uint32_t pointwise_crc = 0;
  std::string pointwise;  // empty: only the checksum is known

  std::string WrongLoss(Reduction reduction, double loss) const override {
    uint64_t bits = 0;
    std::memcpy(&bits, &loss, sizeof(bits));
    const uint64_t want = losses.at(reduction);
    return bits == want ? "" : name + ": " + Hexadecimal(bits) + ", expected " + Hexadecimal(want);
  }

  std::string WrongPointwise(std::string_view bytes) const override {
    const numerics::DType dtype = formula.output();
    if (bytes.size() != static_cast<size_t>(elements * ElementSize(dtype))) {
      return name + ": " + std::to_string(bytes.size()) + " bytes of pointwise losses";
    }
    for (int64_t e = 0; e < (pointwise.empty() ? 0 : elements); ++e) {
      const uint64_t got = ElementBits(dtype, bytes, e);
      const uint64_t want = ElementBits(dtype, pointwise, e);
      if (got != want) {
        return name + ", element " + std::to_string(e) + ": " + Hexadecimal(got) + ", expected " +
               Hexadecimal(want);
      }
    }
    return Crc32(bytes) == pointwise_crc ? "" : name + ": wrong checksum of the pointwise losses";
  }
};

std::unique_ptr<const Case> ParseCase(const nlohmann::json& json) {
  auto result = std::make_unique<FrozenCase>();
  result->name = "bits.jsonl: " + json.at("name").get<std::string>();
  result->formula = {.input = ParseDType(json.at("input").at("dtype")),
                     .target = ParseDType(json.at("target").at("dtype")),
                     .log_target = json.at("log_target"),
                     .skip_zero_target = json.at("zero_target") == "skip"};
  result->shape = json.at("shape").get<std::vector<int64_t>>();
  result->elements = 1;
  for (const int64_t size : result->shape) result->elements *= size;
  result->input = ParseTensor(json.at("input"), result->elements);
  result->target = ParseTensor(json.at("target"), result->elements);
  const auto bits = [&](const char* key) {
    return std::stoull(json.at(key).get<std::string>(), nullptr, 16);
  };
  result->losses = {{Reduction::kSum, bits("sum")},
                    {Reduction::kMean, bits("mean")},
                    {Reduction::kBatchMean, bits("batchmean")}};
  const nlohmann::json& none = json.at("none");
  result->pointwise_crc = static_cast<uint32_t>(std::stoul(none.at("crc32").get<std::string>(), nullptr, 16));
  if (none.contains("data")) result->pointwise = Base64Decode(none.at("data").get<std::string>());
  return result;
}

}  // namespace

Cases FrozenCases() {
  Cases cases;
  for (const nlohmann::json& line : ReadLines("bits.jsonl")) cases.push_back(ParseCase(line));
  return cases;
}

}  // namespace kldiv::golden
