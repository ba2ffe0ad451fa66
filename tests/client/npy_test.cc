#include "client/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace kldiv::npy {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A file of this version with this dictionary and so many bytes of data.
std::string FileOf(const std::string& dictionary, size_t data_bytes, char major = 1) {
  std::string file = "\x93NUMPY";
  file += {major, '\0'};
  const auto length = static_cast<uint32_t>(dictionary.size());
  file.append(reinterpret_cast<const char*>(&length), major == 1 ? 2 : 4);
  return file + dictionary + std::string(data_bytes, '\x01');
}

std::string Dictionary(const std::string& descr, const std::string& shape,
                       const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

absl::StatusOr<Array> ParseText(const std::string& file) {
  return Parse({reinterpret_cast<const std::byte*>(file.data()), file.size()});
}

struct Accepted {
  const char* name;
  std::string file;
  DType dtype;
  std::vector<int64_t> shape;
  int64_t elements;
};

class NpyAccepts : public ::testing::TestWithParam<Accepted> {};

TEST_P(NpyAccepts, WhatNumPyWrites) {
  const Accepted& expected = GetParam();
  const absl::StatusOr<Array> array = ParseText(expected.file);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->dtype, expected.dtype);
  EXPECT_THAT(array->shape, ElementsAreArray(expected.shape));
  EXPECT_EQ(array->elements, expected.elements);
  EXPECT_EQ(static_cast<int64_t>(array->data.size()), expected.elements * ElementSize(expected.dtype));
}

std::string Ones(int dimensions) {
  std::string shape = "(";
  for (int i = 0; i < dimensions; ++i) shape += "1,";
  return shape + ")";
}

INSTANTIATE_TEST_SUITE_P(Files, NpyAccepts,
                         ::testing::ValuesIn(std::vector<Accepted>{
                             {"float16", FileOf(Dictionary("<f2", "(2, 3)"), 12), DType::kFp16, {2, 3}, 6},
                             {"float32", FileOf(Dictionary("<f4", "(2, 3)"), 24), DType::kFp32, {2, 3}, 6},
                             {"float64", FileOf(Dictionary("<f8", "(2, 3)"), 48), DType::kFp64, {2, 3}, 6},
                             {"native_order", FileOf(Dictionary("=f4", "(1,)"), 4), DType::kFp32, {1}, 1},
                             {"version_2", FileOf(Dictionary("<f4", "(1,)"), 4, 2), DType::kFp32, {1}, 1},
                             {"version_3", FileOf(Dictionary("<f4", "(1,)"), 4, 3), DType::kFp32, {1}, 1},
                             {"no_dimensions", FileOf(Dictionary("<f8", "()"), 8), DType::kFp64, {}, 1},
                             {"empty", FileOf(Dictionary("<f4", "(0, 3)"), 0), DType::kFp32, {0, 3}, 0},
                             {"empty_with_huge_dimensions",
                              FileOf(Dictionary("<f4", "(9223372036854775807, 9223372036854775807, 0)"), 0),
                              DType::kFp32,
                              {INT64_MAX, INT64_MAX, 0},
                              0},
                             {"64_dimensions", FileOf(Dictionary("<f4", Ones(64)), 4), DType::kFp32,
                              std::vector<int64_t>(64, 1), 1},
                             {"fortran_order_of_one_dimension",
                              FileOf(Dictionary("<f4", "(3,)", "True"), 12),
                              DType::kFp32,
                              {3},
                              3},
                             {"fortran_order_of_one_element",
                              FileOf(Dictionary("<f4", "(1, 1)", "True"), 4),
                              DType::kFp32,
                              {1, 1},
                              1},
                             {"fortran_order_of_one_row",
                              FileOf(Dictionary("<f4", "(1, 3)", "True"), 12),
                              DType::kFp32,
                              {1, 3},
                              3},
                             {"fortran_order_without_elements",
                              FileOf(Dictionary("<f4", "(2, 0, 3)", "True"), 0),
                              DType::kFp32,
                              {2, 0, 3},
                              0},
                             {"other_order_of_keys",
                              FileOf("{\"shape\":(2,),\"descr\":\"<f4\",\"fortran_order\":False}", 8),
                              DType::kFp32,
                              {2},
                              2}}),
                         [](const auto& test) { return test.param.name; });

struct Refused {
  const char* name;
  std::string file;
  std::string why;
};

class NpyRefuses : public ::testing::TestWithParam<Refused> {};

TEST_P(NpyRefuses, WithItsReason) {
  const absl::Status status = ParseText(GetParam().file).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().why));
  EXPECT_EQ(std::string(status.message()).find('\n'), std::string::npos);
}

const std::string kGood = FileOf(Dictionary("<f4", "(2,)"), 8);

std::string WithDictionary(const std::string& dictionary) { return FileOf(dictionary, 8); }

INSTANTIATE_TEST_SUITE_P(
    Files, NpyRefuses,
    ::testing::ValuesIn(std::vector<Refused>{
        {"an_empty_file", "", "not a NumPy .npy file"},
        {"another_file", "PK\x03\x04 an archive", "not a NumPy .npy file"},
        {"a_cut_magic", kGood.substr(0, 4), "truncated within the header"},
        {"a_cut_version", kGood.substr(0, 7), "truncated within the header"},
        {"a_cut_length", kGood.substr(0, 9), "truncated within the header"},
        {"a_cut_dictionary", kGood.substr(0, 30), "truncated within the header"},
        {"a_cut_tensor", kGood.substr(0, kGood.size() - 1), "truncated: 7 bytes of data, expected 8"},
        {"more_after_the_tensor", kGood + "x", "has bytes after its end: 9 bytes of data, expected 8"},
        {"a_newer_version", FileOf(Dictionary("<f4", "(2,)"), 8, 4), "version is 4.0"},
        {"version_0", FileOf(Dictionary("<f4", "(2,)"), 8, 0), "version is 0.0"},
        {"a_huge_header", FileOf(std::string(10'001, ' '), 0, 2), "header has 10001 bytes"},
        {"a_header_that_claims_4_GiB", std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff{", 13),
         "4294967295 bytes"},
        {"big_endian", FileOf(Dictionary(">f4", "(2,)"), 8), "'>f4', big-endian"},
        {"no_byte_order", FileOf(Dictionary("|f4", "(2,)"), 8), "'|f4'"},
        {"integers", FileOf(Dictionary("<i4", "(2,)"), 8), "'<i4'; expected float16, float32 or float64"},
        {"complex_numbers", FileOf(Dictionary("<c8", "(1,)"), 8), "'<c8'"},
        {"long_doubles", FileOf(Dictionary("<f16", "(1,)"), 16), "'<f16'"},
        {"objects", FileOf(Dictionary("|O", "(1,)"), 8), "'|O'"},
        {"a_line_feed_in_the_dtype", FileOf(Dictionary("<f4\n", "(2,)"), 8), "'<f4\\n'"},
        {"records", WithDictionary("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }"),
         "structured dtypes"},
        {"fortran_order", FileOf(Dictionary("<f4", "(2, 3)", "True"), 24), "Fortran order"},
        {"65_dimensions", FileOf(Dictionary("<f4", Ones(65)), 4), "more than 64 dimensions"},
        {"a_negative_dimension", FileOf(Dictionary("<f4", "(-2,)"), 8), "expected a size at \"-2"},
        {"minus_zero", FileOf(Dictionary("<f4", "(-0,)"), 0), "expected a size"},
        {"a_dimension_over_63_bits", FileOf(Dictionary("<f4", "(9223372036854775808,)"), 8), "over 2^63 - 1"},
        {"a_product_over_63_bits", FileOf(Dictionary("<f4", "(4294967296, 4294967296)"), 8),
         "more than 2^63 - 1"},
        {"bytes_over_63_bits", FileOf(Dictionary("<f8", "(2305843009213693952,)"), 8), "more than 2^63 - 1"},
        {"a_number_as_shape", FileOf(Dictionary("<f4", "(2)"), 8), "expected a tuple"},
        {"a_bare_number_as_shape", FileOf(Dictionary("<f4", "2"), 8), "expected ("},
        {"a_leading_zero", FileOf(Dictionary("<f4", "(02,)"), 8), "expected a size"},
        {"a_fraction", FileOf(Dictionary("<f4", "(2.0,)"), 8), "expected , or )"},
        {"two_commas", FileOf(Dictionary("<f4", "(2,,)"), 8), "expected a size"},
        {"no_dictionary", WithDictionary(""), "expected {"},
        {"an_open_dictionary", WithDictionary("{'descr': '<f4'"), "expected , or }"},
        {"no_shape", WithDictionary("{'descr': '<f4', 'fortran_order': False}"), "has no shape"},
        {"no_descr", WithDictionary("{'shape': (2,), 'fortran_order': False}"), "has no descr"},
        {"no_order", WithDictionary("{'shape': (2,), 'descr': '<f4'}"), "has no fortran_order"},
        {"another_key", WithDictionary("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}"),
         "expected the keys"},
        {"a_key_twice",
         WithDictionary("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}"),
         "each once"},
        {"something_after_the_dictionary", WithDictionary(Dictionary("<f4", "(2,)") + "x"),
         "expected nothing more"},
        {"a_number_as_order", FileOf(Dictionary("<f4", "(2,)", "0"), 8), "expected False"},
        {"an_open_string", WithDictionary("{'descr: (2,)"), "expected a string"},
        {"an_escape", FileOf(Dictionary("\\x3cf4", "(2,)"), 8), "without escapes"},
        {"nested_brackets", WithDictionary(std::string(8000, '{')), "expected a string"}}),
    [](const auto& test) { return test.param.name; });

class NpyFileTest : public ::testing::Test {
 protected:
  NpyFileTest() { std::filesystem::create_directory(folder_); }
  ~NpyFileTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  std::string Read(const std::string& path) const {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      names.push_back(entry.path().filename());
    return names;
  }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("kldiv_npy_test." + std::to_string(getpid()));
};

TEST_F(NpyFileTest, ReadsWhatItHasWritten) {
  const int64_t shape[] = {2, 3};
  const float values[] = {1, 2, 3, 4, 5, 6};
  absl::StatusOr<OutputFile> output = OutputFile::Create(Path("a.npy"), DType::kFp32, shape);
  ASSERT_TRUE(output.ok()) << output.status();
  ASSERT_EQ(output->data().size(), sizeof values);
  std::memcpy(output->data().data(), values, sizeof values);
  ASSERT_TRUE(output->Commit().ok());
  const absl::StatusOr<File> file = File::Open(Path("a.npy"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->array().dtype, DType::kFp32);
  EXPECT_THAT(file->array().shape, ElementsAre(2, 3));
  EXPECT_EQ(std::memcmp(file->array().data.data(), values, sizeof values), 0);
}

TEST_F(NpyFileTest, WritesTheHeaderThatNumPyWrites) {
  const int64_t shape[] = {898, 10};
  const std::string header = Header(DType::kFp32, shape);
  EXPECT_EQ(header.size(), 128U);
  EXPECT_EQ(header.substr(10, 61), "{'descr': '<f4', 'fortran_order': False, 'shape': (898, 10), ");
  EXPECT_EQ(header.back(), '\n');
  const std::string digits = Read("tests/data/digits/digits_teacher_probs.npy");
  EXPECT_EQ(header, digits.substr(0, header.size()));
  const int64_t one[] = {7};
  EXPECT_THAT(Header(DType::kFp64, one), HasSubstr("'shape': (7,), }"));
  EXPECT_THAT(Header(DType::kFp16, {}), HasSubstr("'<f2', 'fortran_order': False, 'shape': (), }"));
}

TEST_F(NpyFileTest, ReadsARealFile) {
  const absl::StatusOr<File> file = File::Open("tests/data/digits/digits_student_logprobs.npy");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->array().shape, ElementsAre(898, 10));
}

TEST_F(NpyFileTest, LeavesNothingBehindWithoutCommit) {
  const int64_t shape[] = {2};
  { ASSERT_TRUE(OutputFile::Create(Path("a.npy"), DType::kFp32, shape).ok()); }
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(NpyFileTest, ReplacesAFileThatIsBeingRead) {
  const int64_t shape[] = {1};
  std::ofstream(Path("a.npy"), std::ios::binary) << FileOf(Dictionary("<f4", "(1,)"), 4);
  const absl::StatusOr<File> input = File::Open(Path("a.npy"));
  ASSERT_TRUE(input.ok()) << input.status();
  absl::StatusOr<OutputFile> output = OutputFile::Create(Path("a.npy"), DType::kFp32, shape);
  ASSERT_TRUE(output.ok()) << output.status();
  std::memset(output->data().data(), 0, 4);
  ASSERT_TRUE(output->Commit().ok());
  EXPECT_EQ(input->array().data[0], std::byte{1});
  EXPECT_THAT(Names(), ElementsAre("a.npy"));
}

TEST_F(NpyFileTest, GivesANewFileTheModeOfTheUmask) {
  const mode_t mask = umask(027);
  absl::StatusOr<OutputFile> output = OutputFile::Create(Path("a.npy"), DType::kFp32, {});
  umask(mask);
  ASSERT_TRUE(output.ok()) << output.status();
  ASSERT_TRUE(output->Commit().ok());
  struct stat facts = {};
  ASSERT_EQ(stat(Path("a.npy").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0640U);
}

TEST_F(NpyFileTest, NamesTheFileThatCannotBeUsed) {
  const absl::Status missing = File::Open(Path("none.npy")).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("none.npy: cannot be opened"));

  std::ofstream(Path("empty.npy"));
  const absl::Status empty = File::Open(Path("empty.npy")).status();
  EXPECT_EQ(empty.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(empty.message()), HasSubstr("empty.npy: it is not a NumPy .npy file"));

  const absl::Status folder = File::Open(folder_.string()).status();
  EXPECT_EQ(folder.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(folder.message()), HasSubstr("not a regular file"));
}

TEST_F(NpyFileTest, LeavesLinksAlone) {
  std::ofstream(Path("real.npy")) << "what was there";
  std::filesystem::create_symlink("real.npy", Path("link.npy"));
  EXPECT_EQ(OutputFile::Create(Path("link.npy"), DType::kFp32, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(std::filesystem::is_symlink(Path("link.npy")));
}

TEST_F(NpyFileTest, DoesNotWaitForAPipe) {
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(File::Open(Path("pipe")).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(NpyFileTest, RefusesAnOutputThatCannotBe) {
  const absl::Status device = OutputFile::Create("/dev/null", DType::kFp32, {}).status();
  EXPECT_EQ(device.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(device.message()), HasSubstr("/dev/null"));
  EXPECT_EQ(OutputFile::Create(Path("no/folder.npy"), DType::kFp32, {}).status().code(),
            absl::StatusCode::kNotFound);
  const int64_t huge[] = {int64_t{1} << 60};
  EXPECT_FALSE(OutputFile::Create(Path("huge.npy"), DType::kFp32, huge).ok());
  EXPECT_THAT(Names(), IsEmpty());
}

}  // namespace
}  // namespace kldiv::npy
