#include "tests/golden/encoding.h"

#include <array>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "tests/golden/formats.h"

namespace kldiv::golden {

using numerics::DType;

std::vector<nlohmann::json> ReadLines(const std::string& file_name) {
  const char* const elsewhere = std::getenv("KLDIV_GOLDEN_FOLDER");
  const std::string path =
      std::string(elsewhere != nullptr ? elsewhere : KLDIV_GOLDEN_FOLDER) + "/" + file_name;
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

DType ParseDType(const std::string& name) {
  if (name == "FP16") return DType::kFp16;
  if (name == "BF16") return DType::kBf16;
  if (name == "FP32") return DType::kFp32;
  if (name == "FP64") return DType::kFp64;
  throw std::runtime_error("no dtype: " + name);
}

std::string Base64Decode(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  uint32_t buffer = 0;
  int bits = 0;
  for (const char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == kDigits.npos) throw std::runtime_error("not base64: " + std::string(text));
    buffer = buffer << 6 | static_cast<uint32_t>(digit);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push_back(static_cast<char>(buffer >> bits & 0xff));
    }
  }
  return bytes;
}

uint32_t Crc32(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> entries{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t entry = i;
      for (int bit = 0; bit < 8; ++bit) entry = (entry & 1) != 0 ? entry >> 1 ^ 0xedb88320u : entry >> 1;
      entries[i] = entry;
    }
    return entries;
  }();
  uint32_t crc = 0xffffffffu;
  for (const char c : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

std::string Generate(const Rule& rule, DType dtype, int64_t elements) {
  const Format format = FormatOf(dtype);
  const auto exponents = static_cast<uint64_t>(rule.highest_exponent - rule.lowest_exponent + 1);
  std::string bytes;
  bytes.reserve(static_cast<size_t>(elements * ElementSize(dtype)));
  uint64_t state = rule.seed;
  for (int64_t e = 0; e < elements; ++e) {
    state += 0x9e3779b97f4a7c15u;
    uint64_t z = state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    const uint64_t exponent = static_cast<uint64_t>(rule.lowest_exponent) + (z >> 52) % exponents;
    const uint64_t fraction = z & ((uint64_t{1} << format.fraction_bits) - 1);
    const uint64_t sign = static_cast<uint64_t>(rule.sign) << (format.exponent_bits + format.fraction_bits);
    AppendElement(dtype, sign | exponent << format.fraction_bits | fraction, bytes);
  }
  return bytes;
}

std::string ParseTensor(const nlohmann::json& json, int64_t elements) {
  if (json.contains("data")) return Base64Decode(json.at("data").get<std::string>());
  const DType dtype = ParseDType(json.at("dtype"));
  const Rule rule = {.seed = std::stoull(json.at("seed").get<std::string>(), nullptr, 16),
                     .sign = json.at("sign"),
                     .lowest_exponent = json.at("exponent").at(0),
                     .highest_exponent = json.at("exponent").at(1)};
  std::string bytes = Generate(rule, dtype, elements);
  if (json.contains("patch")) {
    const auto size = static_cast<size_t>(ElementSize(dtype));
    for (const nlohmann::json& patch : json.at("patch")) {
      std::string element;
      AppendElement(dtype, std::stoull(patch.at(1).get<std::string>(), nullptr, 16), element);
      bytes.replace(patch.at(0).get<size_t>() * size, size, element);
    }
  }
  return bytes;
}

}  // namespace kldiv::golden
