#include <cmath>
#include <limits>
#include <map>
#include <sstream>

#include "tests/golden/encoding.h"
#include "tests/golden/formats.h"
#include "tests/golden/golden.h"

namespace kldiv::golden {
namespace {

using numerics::DType;

// Losses and pointwise losses may be off by this part of their scale ...
double RelativeTolerance(DType target) { return target == DType::kFp64 ? 0x1p-50 : 0x1p-40; }
// ... and by this, which the subnormals need.
constexpr double kAbsoluteTolerance = 1e-320;

struct ExactLoss {
  double value = 0;
  double scale = 0;
};

class ExactCase : public Case {
 public:
  std::map<Reduction, ExactLoss> losses;
  std::vector<double> pointwise;

  std::string WrongLoss(Reduction reduction, double loss) const override;
  std::string WrongPointwise(std::string_view bytes) const override;

 private:
  std::string WrongElement(int64_t index, uint64_t bits) const;
  double ElementScale(int64_t index) const;
};

std::string Describe(const std::string& what, double got, double want, double tolerance) {
  std::ostringstream text;
  text << std::hexfloat << what << ": " << got << ", expected " << want << " within " << tolerance;
  return text.str();
}

std::string ExactCase::WrongLoss(Reduction reduction, double loss) const {
  const ExactLoss& exact = losses.at(reduction);
  double tolerance = 0;
  bool right = false;
  if (std::isnan(exact.value)) {
    uint64_t bits = 0;
    std::memcpy(&bits, &loss, sizeof(bits));
    right = bits == CanonicalNaN(DType::kFp64);
  } else if (std::isinf(exact.value)) {
    right = loss == exact.value;
  } else {
    tolerance = RelativeTolerance(formula.target) * exact.scale + kAbsoluteTolerance;
    right = std::abs(loss - exact.value) <= tolerance;  // false for NaN
  }
  return right ? "" : Describe(name, loss, exact.value, tolerance);
}

// |t ln t| + |t x|, or e^t (|t| + |x|): what rounding is measured against. 0 where it is not finite.
double ExactCase::ElementScale(int64_t index) const {
  const double x = Decode(formula.input, ElementBits(formula.input, input, index));
  const double t = Decode(formula.target, ElementBits(formula.target, target, index));
  double scale = 0;
  if (formula.log_target) {
    scale = std::exp(t) * (std::abs(t) + std::abs(x));
  } else {
    scale = (t > 0 ? std::abs(t * std::log(t)) : 0) + std::abs(t * x);
  }
  return std::isfinite(scale) ? scale : 0;
}

std::string ExactCase::WrongElement(int64_t index, uint64_t bits) const {
  const DType dtype = formula.output();
  const double exact = pointwise[static_cast<size_t>(index)];
  const double got = Decode(dtype, bits);
  double tolerance = 0;
  bool right = false;
  if (std::isnan(exact)) {
    right = bits == CanonicalNaN(dtype);
  } else if (std::isinf(exact)) {
    right = got == exact;
  } else {
    // The expected value is itself rounded to binary64.
    const double own = 0x1p-53 * std::abs(exact);
    tolerance = RelativeTolerance(formula.target) * ElementScale(index) + kAbsoluteTolerance + own;
    if (std::isinf(got)) {
      right =
          std::signbit(got) == std::signbit(exact) && std::abs(exact) + tolerance >= OverflowThreshold(dtype);
    } else {
      tolerance += Ulp(dtype, exact) / 2;
      right = std::abs(got - exact) <= tolerance;
    }
  }
  return right ? "" : Describe(name + ", element " + std::to_string(index), got, exact, tolerance);
}

std::string ExactCase::WrongPointwise(std::string_view bytes) const {
  const auto size = static_cast<size_t>(ElementSize(formula.output()));
  if (bytes.size() != pointwise.size() * size) {
    return name + ": " + std::to_string(bytes.size()) + " bytes of pointwise losses";
  }
  for (int64_t e = 0; e < elements; ++e) {
    std::string wrong = WrongElement(e, ElementBits(formula.output(), bytes, e));
    if (!wrong.empty()) return wrong;
  }
  return "";
}

// Some numbers are written as strings: nan, inf, -inf, and those with all their digits.
double ParseNumber(const nlohmann::json& json) {
  return json.is_string() ? std::strtod(json.get<std::string>().c_str(), nullptr) : json.get<double>();
}

ExactLoss ParseLoss(const nlohmann::json& json) {
  return {ParseNumber(json.at("exact")), ParseNumber(json.at("scale"))};
}

std::unique_ptr<const Case> ParseCase(const nlohmann::json& json, size_t line) {
  auto result = std::make_unique<ExactCase>();
  const std::string dtype = json.at("dtype");
  result->formula = {.input = ParseDType(dtype),
                     .target = ParseDType(dtype),
                     .log_target = json.at("log_target"),
                     .skip_zero_target = false};
  result->name = "kl_div.jsonl:" + std::to_string(line) + " " + json.at("name").get<std::string>() + " " +
                 dtype + (result->formula.log_target ? " log_target" : "");
  result->shape = json.at("shape").get<std::vector<int64_t>>();
  result->elements = 1;
  for (const int64_t size : result->shape) result->elements *= size;
  result->input = Base64Decode(json.at("input").get<std::string>());
  result->target = Base64Decode(json.at("target").get<std::string>());
  result->losses[Reduction::kSum] = ParseLoss(json.at("sum"));
  result->losses[Reduction::kMean] = ParseLoss(json.at("mean"));
  result->losses[Reduction::kBatchMean] = ParseLoss(json.at("batchmean"));
  const std::string pointwise = Base64Decode(json.at("none").at("exact").get<std::string>());
  for (int64_t e = 0; e < result->elements; ++e) {
    result->pointwise.push_back(Decode(DType::kFp64, ElementBits(DType::kFp64, pointwise, e)));
  }
  return result;
}

}  // namespace

std::optional<int64_t> Case::Divisor(Reduction reduction) const {
  switch (reduction) {
    case Reduction::kMean:
      return elements;
    case Reduction::kBatchMean:
      return shape.empty() ? std::nullopt : std::optional(shape[0]);
    case Reduction::kSum:
      break;
  }
  return std::nullopt;
}

Cases ExactCases() {
  Cases cases;
  for (const nlohmann::json& line : ReadLines("kl_div.jsonl")) {
    cases.push_back(ParseCase(line, cases.size() + 1));
  }
  return cases;
}

}  // namespace kldiv::golden
