// The interpreter by small pieces of PTX: what it computes, and that it refuses what it does not know.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/ptx/executor.h"
#include "tests/ptx/parser.h"

namespace kldiv::ptx {
namespace {

// A kernel with the arguments out and in, in %rd1 and %rd2, and the thread's number in %r1.
std::string Kernel(const std::string& body, const std::string& declarations = "") {
  constexpr char kText[] = R"(
.version 9.0
.target sm_90
.address_size 64
$DECLARATIONS
.visible .entry test_kernel(
  .param .u64 test_param_0,
  .param .u64 .ptr .align 1 test_param_1
)
.maxntid 64, 1, 1
{
  .reg .pred %p<8>;
  .reg .b16 %rs<8>;
  .reg .b32 %r<16>;
  .reg .f32 %f<8>;
  .reg .f64 %fd<8>;
  .reg .b64 %rd<16>;
  ld.param.u64 %rd1, [test_param_0];
  ld.param.u64 %rd2, [test_param_1];
  mov.u32 %r1, %tid.x;
  $BODY
  ret;
}
)";
  return absl::StrReplaceAll(kText, {{"$DECLARATIONS", declarations}, {"$BODY", body}});
}

absl::Status RunText(const std::string& text, std::vector<uint64_t>& out, const std::vector<uint64_t>& in,
                     uint32_t threads = 1, uint64_t seed = 1) {
  absl::StatusOr<Module> module = Parse(text);
  if (!module.ok()) return module.status();
  Launch launch;
  launch.kernel = "test_kernel";
  launch.threads = threads;
  launch.arguments = {reinterpret_cast<uintptr_t>(out.data()), reinterpret_cast<uintptr_t>(in.data())};
  launch.buffers = {{out.data(), out.size() * 8, true},
                    {const_cast<uint64_t*>(in.data()), in.size() * 8, false}};
  launch.seed = seed;
  return Execute(*module, launch);
}

// Runs one thread and gives its eight bytes of output.
uint64_t Result(const std::string& body, const std::vector<uint64_t>& in = {0}, uint64_t seed = 1) {
  std::vector<uint64_t> out(1, 0);
  const absl::Status status = RunText(Kernel(body), out, in, 1, seed);
  EXPECT_TRUE(status.ok()) << status;
  return out[0];
}

std::string ErrorOf(const std::string& body, absl::StatusCode code, uint32_t threads = 1) {
  std::vector<uint64_t> out(2, 0);
  const absl::Status status = RunText(Kernel(body), out, {0, 0}, threads);
  EXPECT_EQ(status.code(), code) << status;
  return std::string(status.message());
}

std::string Refused(const std::string& body) { return ErrorOf(body, absl::StatusCode::kInvalidArgument); }
std::string Failed(const std::string& body, uint32_t threads = 1) {
  return ErrorOf(body, absl::StatusCode::kFailedPrecondition, threads);
}

uint64_t Bits(double value) { return std::bit_cast<uint64_t>(value); }

// The bits of an operation's result on doubles a and b.
uint64_t OnDoubles(const std::string& operation, double a, double b, uint64_t seed = 1) {
  return Result(
      absl::StrCat("ld.global.v2.f64 {%fd1, %fd2}, [%rd2];", operation, " st.global.f64 [%rd1], %fd3;"),
      {Bits(a), Bits(b)}, seed);
}

// ---- Arithmetic.

TEST(PtxArithmetic, FusesMultiplyAndAdd) {
  const double a = 1 + 0x1p-30;
  EXPECT_EQ(OnDoubles("fma.rn.f64 %fd3, %fd1, %fd1, %fd2;", a, -(1 + 0x1p-29)), Bits(0x1p-60));
  EXPECT_EQ(OnDoubles("mul.rn.f64 %fd3, %fd1, %fd1; add.rn.f64 %fd3, %fd3, %fd2;", a, -(1 + 0x1p-29)),
            Bits(0));
}

TEST(PtxArithmetic, GivesNaNsAnArbitraryPayload) {
  const double infinity = std::numeric_limits<double>::infinity();
  std::set<uint64_t> seen;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const uint64_t bits = OnDoubles("sub.rn.f64 %fd3, %fd1, %fd2;", infinity, infinity, seed);
    EXPECT_TRUE(std::isnan(std::bit_cast<double>(bits)));
    seen.insert(bits);
  }
  EXPECT_EQ(seen.size(), 5u);
}

TEST(PtxArithmetic, MovesNaNsUnchanged) {
  EXPECT_EQ(Result("ld.global.f64 %fd1, [%rd2]; mov.f64 %fd2, %fd1; st.global.f64 [%rd1], %fd2;",
                   {0xfff0000000000123u}),
            0xfff0000000000123u);
}

TEST(PtxArithmetic, TakesTheNumberOfANumberAndANaNInMinAndMax) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(OnDoubles("min.f64 %fd3, %fd1, %fd2;", nan, 3), Bits(3));
  EXPECT_EQ(OnDoubles("max.f64 %fd3, %fd1, %fd2;", 3, nan), Bits(3));
  EXPECT_EQ(OnDoubles("min.f64 %fd3, %fd1, %fd2;", 0.0, -0.0), Bits(-0.0));
  EXPECT_EQ(OnDoubles("max.f64 %fd3, %fd1, %fd2;", -0.0, 0.0), Bits(0.0));
}

TEST(PtxArithmetic, ComparesUnorderedAsTheSuffixSays) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto holds = [&](const char* name, double a, double b) {
    return OnDoubles(absl::StrCat(
                         "setp.", name,
                         ".f64 %p1, %fd1, %fd2; selp.f64 %fd3, 0d3FF0000000000000, 0d0000000000000000, %p1;"),
                     a, b) == Bits(1);
  };
  EXPECT_FALSE(holds("lt", nan, 1));
  EXPECT_TRUE(holds("ltu", nan, 1));
  EXPECT_FALSE(holds("ne", nan, 1));
  EXPECT_TRUE(holds("neu", nan, 1));
  EXPECT_TRUE(holds("nan", nan, 1));
  EXPECT_FALSE(holds("num", nan, 1));
  EXPECT_TRUE(holds("geu", 2, 1));
}

TEST(PtxArithmetic, WidensHalves) {
  const auto widen = [](uint64_t half) {
    return static_cast<uint32_t>(
        Result("ld.global.u16 %rs1, [%rd2]; cvt.f32.f16 %f1, %rs1; st.global.f32 [%rd1], %f1;", {half}));
  };
  EXPECT_EQ(widen(0x3c00), std::bit_cast<uint32_t>(1.0f));
  EXPECT_EQ(widen(0x0001), std::bit_cast<uint32_t>(0x1p-24f));
  EXPECT_EQ(widen(0xfc00), std::bit_cast<uint32_t>(-std::numeric_limits<float>::infinity()));
  EXPECT_TRUE(std::isnan(std::bit_cast<float>(widen(0x7c01))));
}

TEST(PtxArithmetic, ShiftsBeyondTheWidth) {
  EXPECT_EQ(Result("mov.u64 %rd3, -8; shr.s64 %rd4, %rd3, 100; st.global.u64 [%rd1], %rd4;"), ~uint64_t{0});
  EXPECT_EQ(Result("mov.u64 %rd3, -8; shr.u64 %rd4, %rd3, 64; st.global.u64 [%rd1], %rd4;"), 0u);
  EXPECT_EQ(Result("mov.u32 %r3, 1; shl.b32 %r4, %r3, 32; st.global.u32 [%rd1], %r4;"), 0u);
}

TEST(PtxArithmetic, KeepsIntegersToTheirWidth) {
  EXPECT_EQ(
      Result(
          "mov.u32 %r3, 0xffffffff; add.s32 %r4, %r3, 2; cvt.u64.u32 %rd4, %r4; st.global.u64 [%rd1], %rd4;"),
      1u);
  EXPECT_EQ(Result("mov.u32 %r3, -2; mul.wide.s32 %rd4, %r3, 3; st.global.u64 [%rd1], %rd4;"), uint64_t(-6));
  EXPECT_EQ(Result("mov.u32 %r3, -2; cvt.s64.s32 %rd4, %r3; st.global.u64 [%rd1], %rd4;"), uint64_t(-2));
  EXPECT_EQ(
      Result("mov.u64 %rd3, 0xff; cvt.u16.u64 %rs1, %rd3; cvt.s32.s8 %r4, %rs1; st.global.u32 [%rd1], %r4;"),
      0xffffffffu);
}

TEST(PtxArithmetic, MovesFieldsOfBits) {
  EXPECT_EQ(
      Result(
          "mov.u64 %rd3, 0xab; mov.u64 %rd4, 0; bfi.b64 %rd5, %rd3, %rd4, 8, 4; st.global.u64 [%rd1], %rd5;"),
      0xb00u);
  EXPECT_EQ(Result("mov.u32 %r3, 0x12345678; bfe.u32 %r4, %r3, 8, 8; st.global.u32 [%rd1], %r4;"), 0x56u);
  EXPECT_EQ(Result("mov.u32 %r3, 0x03020100; mov.u32 %r4, 0x87060504; prmt.b32 %r5, %r3, %r4, 0xf017; "
                   "st.global.u32 [%rd1], %r5;"),
            0xff000187u);
  EXPECT_EQ(
      Result(
          "mov.u32 %r3, 0xc; mov.u32 %r4, 0xa; lop3.b32 %r5, %r3, %r4, 0, 0x3c; st.global.u32 [%rd1], %r5;"),
      0x6u);
}

TEST(PtxArithmetic, PacksAndUnpacks) {
  EXPECT_EQ(Result("mov.u32 %r3, 1; mov.u32 %r4, 2; mov.b64 %rd3, {%r3, %r4}; mov.b64 {%r5, %r6}, %rd3;"
                   "mov.b64 %rd4, {%r6, %r5}; st.global.u64 [%rd1], %rd4;"),
            uint64_t{1} << 32 | 2);
}

// ---- Control and memory.

TEST(PtxControl, BranchesByPredicateAndByTable) {
  const std::string body = R"(
    ld.global.u32 %r3, [%rd2];
    setp.gt.u32 %p1, %r3, 1;
    @%p1 bra $L_other;
    $L_table: .branchtargets $L_zero, $L_one;
    brx.idx %r3, $L_table;
    $L_zero: mov.u64 %rd3, 100; bra.uni $L_end;
    $L_one: mov.u64 %rd3, 101; bra.uni $L_end;
    $L_other: mov.u64 %rd3, 102;
    $L_end: st.global.u64 [%rd1], %rd3;)";
  EXPECT_EQ(Result(body, {0}), 100u);
  EXPECT_EQ(Result(body, {1}), 101u);
  EXPECT_EQ(Result(body, {7}), 102u);
}

TEST(PtxControl, CallsFunctionsWithParametersAndAResult) {
  const std::string function = R"(
.func (.param .b64 func_retval0) twice(.param .b64 twice_param_0)
{
  .reg .f64 %fd<3>;
  ld.param.f64 %fd1, [twice_param_0];
  add.rn.f64 %fd2, %fd1, %fd1;
  st.param.f64 [func_retval0], %fd2;
  ret;
})";
  const std::string body = R"(
    ld.global.f64 %fd1, [%rd2];
    { // callseq 0, 0
    .param .b64 param0;
    st.param.f64 [param0], %fd1;
    .param .b64 retval0;
    call.uni (retval0), twice, (param0);
    ld.param.f64 %fd2, [retval0];
    }
    st.global.f64 [%rd1], %fd2;)";
  std::vector<uint64_t> out(1, 0);
  const absl::Status status = RunText(Kernel(body, function), out, {Bits(1.5)});
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(out[0], Bits(3));
}

TEST(PtxMemory, ReadsConstantsOfTheModule) {
  std::vector<uint64_t> out(1, 0);
  const absl::Status status =
      RunText(Kernel("mov.u64 %rd3, table; ld.const.u64 %rd4, [%rd3+8]; st.global.u64 [%rd1], %rd4;",
                     ".const .align 8 .b8 table[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 0, 0, 0, 1};"),
              out, {0});
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(out[0], 0x0100000000000009u);
}

TEST(PtxMemory, SharesAcrossABarrierAndShuffles) {
  // Each thread stores its number, reads its neighbour's and adds what the lane two on has.
  const std::string body = R"(
    .shared .align 8 .b8 numbers[512];
    cvt.u64.u32 %rd3, %r1;
    mov.u32 %r2, numbers;
    shl.b32 %r3, %r1, 3;
    add.s32 %r4, %r2, %r3;
    st.shared.u64 [%r4], %rd3;
    bar.sync 0;
    xor.b32 %r5, %r3, 8;
    add.s32 %r5, %r2, %r5;
    ld.shared.u64 %rd4, [%r5];
    shfl.sync.bfly.b32 %r6|%p1, %r1, 2, 31, -1;
    cvt.u64.u32 %rd5, %r6;
    mad.lo.s64 %rd6, %rd5, 1000, %rd4;
    mul.wide.u32 %rd7, %r1, 8;
    add.s64 %rd8, %rd1, %rd7;
    st.global.u64 [%rd8], %rd6;)";
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    std::vector<uint64_t> out(64, 0);
    const absl::Status status = RunText(Kernel(body), out, {0}, 64, seed);
    ASSERT_TRUE(status.ok()) << status;
    for (uint64_t i = 0; i < 64; ++i) EXPECT_EQ(out[i], (i ^ 2) * 1000 + (i ^ 1));
  }
}

TEST(PtxMemory, ShowsAMissingBarrier) {
  const std::string body = R"(
    .shared .align 4 .b8 cell[4];
    setp.eq.s32 %p1, %r1, 63;
    mov.u32 %r2, 7;
    @%p1 st.shared.u32 [cell], %r2;
    ld.shared.u32 %r3, [cell];
    mul.wide.u32 %rd7, %r1, 8;
    add.s64 %rd8, %rd1, %rd7;
    cvt.u64.u32 %rd9, %r3;
    st.global.u64 [%rd8], %rd9;)";
  std::vector<uint64_t> out(64, 0);
  ASSERT_TRUE(RunText(Kernel(body), out, {0}, 64).ok());
  EXPECT_NE(out, std::vector<uint64_t>(64, 7));
}

// ---- What is refused.

TEST(PtxRefuses, InstructionsAndModifiersThatItDoesNotKnow) {
  EXPECT_NE(Refused("add.f64 %fd3, %fd1, %fd2;").find("instruction add.f64"), std::string::npos);
  Refused("fma.rn.ftz.f32 %f3, %f1, %f2, %f1;");
  Refused("div.approx.f32 %f3, %f1, %f2;");
  Refused("add.rz.f64 %fd3, %fd1, %fd2;");
  Refused("add.rn.sat.f32 %f3, %f1, %f2;");
  Refused("ex2.approx.f32 %f3, %f1;");
  Refused("atom.global.add.f64 %fd1, [%rd1], %fd2;");
  Refused("ld.local.u32 %r3, [%rd1];");
  Refused("bar.sync 1;");
  Refused(".local .align 8 .b8 depot[8];");
}

TEST(PtxRefuses, RegistersOfAnotherWidthAndUnknownNames) {
  EXPECT_NE(Refused("add.s64 %r3, %rd1, %rd2;").find("register %r3 of 32 bits"), std::string::npos);
  Refused("add.s32 %r99, %r1, %r2;");
  Refused("bra $L_nowhere;");
  Refused("ld.param.u64 %rd3, [nothing];");
  Refused("call.uni nobody;");
}

TEST(PtxRefuses, TextThatEndsTooEarly) {
  EXPECT_FALSE(Parse(".visible .entry k() { .reg .b32 %r<2>; mov.u32 %r1, 0;").ok());
  EXPECT_FALSE(Parse(".visible .entry k(").ok());
}

// ---- What fails when it is executed.

TEST(PtxFails, OnAccessesOutsideOfTheBuffers) {
  EXPECT_NE(Failed("ld.global.u64 %rd3, [%rd2+16];").find("a read of 8 bytes"), std::string::npos);
  Failed("ld.global.u64 %rd3, [%rd2+-8];");
  Failed("ld.global.v2.u64 {%rd3, %rd4}, [%rd2+8];");
  EXPECT_NE(Failed("st.global.u64 [%rd2], %rd1;").find("a write"), std::string::npos);  // the input
  Failed(".shared .align 4 .b8 cell[4]; st.shared.u32 [cell+4], %r1;");
}

TEST(PtxFails, OnMisalignedAccesses) { Failed("ld.global.u32 %r3, [%rd2+2];"); }

TEST(PtxFails, WhenABarrierIsNotReachedByAll) {
  EXPECT_NE(Failed("setp.eq.s32 %p1, %r1, 0; @%p1 ret; bar.sync 0;", 2).find("deadlock"), std::string::npos);
}

TEST(PtxFails, WhenAShuffleIsNotReachedByItsMask) {
  EXPECT_NE(Failed("setp.lt.s32 %p1, %r1, 16; @%p1 ret; shfl.sync.bfly.b32 %r3, %r1, 1, 31, -1;", 32)
                .find("deadlock"),
            std::string::npos);
  EXPECT_NE(Failed("shfl.sync.idx.b32 %r3, %r1, 1, 31, 1;").find("outside of its mask"), std::string::npos);
}

TEST(PtxFails, OnATrap) { EXPECT_NE(Failed("trap;").find("trap"), std::string::npos); }

TEST(PtxFails, WithoutTheKernelOrItsArguments) {
  const absl::StatusOr<Module> module = Parse(Kernel(""));
  ASSERT_TRUE(module.ok()) << module.status();
  Launch launch;
  launch.kernel = "other";
  EXPECT_EQ(Execute(*module, launch).code(), absl::StatusCode::kInvalidArgument);
  launch.kernel = "test_kernel";
  EXPECT_EQ(Execute(*module, launch).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace kldiv::ptx
