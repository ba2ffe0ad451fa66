#include "client/npy.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/npy_header.h"

namespace kldiv::npy {
namespace {

static_assert(std::endian::native == std::endian::little,
              "'=' in a file's descr means the machine's own order");

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kMaxHeaderBytes = 10'000;  // NumPy's own limit
constexpr size_t kAlignment = 64;           // of the elements in the file

absl::Status Invalid(absl::string_view why) { return absl::InvalidArgumentError(why); }

// The text of the header and what follows it.
struct Parts {
  std::string_view dictionary;
  std::span<const std::byte> data;
};

absl::StatusOr<Parts> Split(std::span<const std::byte> file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (text.substr(0, kMagic.size()) != kMagic.substr(0, text.size()) || text.empty()) {
    return Invalid("it is not a NumPy .npy file");
  }
  if (text.size() < kMagic.size() + 2) return Invalid("it is truncated within the header");
  const int major = static_cast<uint8_t>(text[kMagic.size()]);
  const int minor = static_cast<uint8_t>(text[kMagic.size() + 1]);
  if (major < 1 || major > 3 || minor != 0) {
    return Invalid(absl::StrCat("its format version is ", major, ".", minor, ", expected 1.0, 2.0 or 3.0"));
  }
  const size_t length_at = kMagic.size() + 2;
  const size_t length_bytes = major == 1 ? 2 : 4;
  if (text.size() < length_at + length_bytes) return Invalid("it is truncated within the header");
  uint32_t length = 0;
  std::memcpy(&length, text.data() + length_at, length_bytes);
  if (length > kMaxHeaderBytes) {
    return Invalid(absl::StrCat("its header has ", length, " bytes, expected at most ", kMaxHeaderBytes));
  }
  const size_t dictionary_at = length_at + length_bytes;
  if (text.size() - dictionary_at < length) return Invalid("it is truncated within the header");
  return Parts{text.substr(dictionary_at, length), file.subspan(dictionary_at + length)};
}

absl::StatusOr<DType> ToDType(const std::string& descr) {
  const std::string_view text(descr);
  if (text == "<f2" || text == "=f2") return DType::kFp16;
  if (text == "<f4" || text == "=f4") return DType::kFp32;
  if (text == "<f8" || text == "=f8") return DType::kFp64;
  const absl::string_view hint =
      text.starts_with('>') ? ", big-endian; convert it, for example with a.astype(a.dtype.newbyteorder('<'))"
                            : "";
  return Invalid(absl::StrCat("its dtype is '", absl::CHexEscape(descr), "'", hint,
                              "; expected float16, float32 or float64 ('<f2', '<f4', '<f8')"));
}

// The product of the shape; none when it exceeds 2^63 - 1.
std::optional<int64_t> Product(const std::vector<int64_t>& shape) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  int64_t product = 1;
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(product, size, &product)) return std::nullopt;
  }
  return product;
}

// Is Fortran order of this shape C order as well?
bool OrdersAgree(const std::vector<int64_t>& shape, int64_t elements) {
  return elements == 0 ||
         std::count_if(shape.begin(), shape.end(), [](int64_t size) { return size != 1; }) <= 1;
}

absl::string_view Name(DType dtype) {
  return dtype == DType::kFp64 ? "float64" : dtype == DType::kFp32 ? "float32" : "float16";
}

std::string Tuple(std::span<const int64_t> shape) {
  return absl::StrCat("(", absl::StrJoin(shape, ", "), shape.size() == 1 ? ",)" : ")");
}

}  // namespace

absl::StatusOr<Array> Parse(std::span<const std::byte> file) {
  const absl::StatusOr<Parts> parts = Split(file);
  if (!parts.ok()) return parts.status();
  absl::StatusOr<Dictionary> dictionary = ParseDictionary(parts->dictionary);
  if (!dictionary.ok()) return dictionary.status();
  const absl::StatusOr<DType> dtype = ToDType(dictionary->descr);
  if (!dtype.ok()) return dtype.status();

  const std::vector<int64_t>& shape = dictionary->shape;
  const std::optional<int64_t> elements = Product(shape);
  int64_t bytes = 0;
  if (!elements.has_value() || __builtin_mul_overflow(*elements, ElementSize(*dtype), &bytes)) {
    return Invalid(absl::StrCat("its shape ", Tuple(shape), " has more than 2^63 - 1 bytes"));
  }
  if (dictionary->fortran_order && !OrdersAgree(shape, *elements)) {
    return Invalid("it is in Fortran order, expected C order; convert it with numpy.ascontiguousarray");
  }
  const auto present = static_cast<int64_t>(parts->data.size());
  if (present != bytes) {
    return Invalid(absl::StrCat("it ", present < bytes ? "is truncated" : "has bytes after its end", ": ",
                                present, " bytes of data, expected ", bytes, " for shape ", Tuple(shape),
                                " of ", Name(*dtype)));
  }
  return Array{*dtype, std::move(dictionary->shape), *elements, parts->data};
}

std::string Header(DType dtype, std::span<const int64_t> shape) {
  const absl::string_view descr = dtype == DType::kFp64 ? "<f8" : dtype == DType::kFp32 ? "<f4" : "<f2";
  std::string dictionary =
      absl::StrCat("{'descr': '", descr, "', 'fortran_order': False, 'shape': ", Tuple(shape), ", }");
  const size_t prefix = kMagic.size() + 4;
  const size_t unpadded = prefix + dictionary.size() + 1;
  dictionary.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  dictionary.push_back('\n');

  std::string header(kMagic.data(), kMagic.size());
  const auto length = static_cast<uint16_t>(dictionary.size());  // At most 64 dimensions: far below 65,536.
  header.push_back(1);
  header.push_back(0);
  header.append(reinterpret_cast<const char*>(&length), sizeof length);
  return header + dictionary;
}

}  // namespace kldiv::npy
