#!/usr/bin/env python3
"""static_check.py accepts a good kernel and says what is wrong with each bad one."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

import ptx_text
import static_check

GOOD = """
__global__ void __launch_bounds__(256) good(const uint4* __restrict__ in, double* out) {
  const uint4 v = __ldg(in + threadIdx.x);
  const double a = __hiloint2double((int)v.x, (int)v.y), b = __hiloint2double((int)v.z, (int)v.w);
  out[threadIdx.x] = __dadd_rn(__fma_rn(a, b, b), __dmul_rn(a, a));
}
"""
NARROW = "__global__ void narrow(const float* __restrict__ in, float* out) { out[threadIdx.x] = in[threadIdx.x]; }"
CONTRACTIBLE = "__global__ void open(const double* in, double* out) { *out = in[0] * in[1] + in[2]; }"
APPROXIMATE = "__global__ void approximate(const float* in, float* out) { *out = __fdividef(in[0], in[1]); }"
LOCAL = """
__global__ void local(const int* in, int* out) {
  int values[64] = {};
  for (int i = 0; i < 100; ++i) values[in[i] & 63] = i;
  out[threadIdx.x] = values[in[threadIdx.x] & 63];
}
"""
# Division is a subroutine of many operations, which the PTX has as one instruction.
DIVISION = "__global__ void divide(const double* in, double* out) { *out = __ddiv_rn(in[0], in[1]); }"


def check(source, *options):
    """The exit code and the lines of a run."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "kernel.cu"
        path.write_text(source)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            code = static_check.main([str(path), *(options or ("--sm", "90:80"))])
        return code, output.getvalue()


class StaticCheckTest(unittest.TestCase):
    def expect_wrong(self, text, source, *options):
        code, output = check(source, *options)
        self.assertEqual(code, 1, output)
        self.assertRegex(output, f"wrong: .*{text}")

    def test_accepts_a_good_kernel_on_every_architecture(self):
        architectures = [f"--sm={sm}:80" for sm in (75, 80, 86, 89, 90, 100, 120)]
        code, output = check(GOOD, *architectures, "--narrowest-load=16", "--widest-load=16", "--kernel=good")
        self.assertEqual(code, 0, output)
        self.assertEqual(output.count("1 DFMA, 1 DADD, 1 DMUL"), 7, output)
        self.assertEqual(output.count("1 x 16 B"), 7, output)

    def test_refuses_more_registers_than_wanted(self):
        self.expect_wrong("registers, at most 4 are wanted", GOOD, "--sm", "90:4")

    def test_refuses_a_load_that_is_too_narrow(self):
        self.expect_wrong(r"loads of 4 bytes \(1 times\)", NARROW, "--sm", "90:80", "--narrowest-load", "8")

    def test_refuses_a_kernel_without_a_wide_load(self):
        self.expect_wrong("no load of 16 bytes", NARROW, "--sm", "90:80", "--widest-load", "16")

    def test_refuses_arithmetic_that_may_be_contracted(self):
        self.expect_wrong("-fmad=true gives another program", CONTRACTIBLE)

    def test_refuses_approximate_arithmetic(self):
        self.expect_wrong("approx.f32 leaves its rounding open", APPROXIMATE)

    def test_refuses_local_memory(self):
        self.expect_wrong("256 bytes of stack, [1-9][0-9]* accesses to local memory", LOCAL)

    def test_refuses_other_counts_than_the_ptx_has(self):
        self.expect_wrong("DFMA, the PTX has 0", DIVISION)

    def test_refuses_a_file_without_the_kernel(self):
        self.expect_wrong("no kernel named absent", GOOD, "--sm", "90:80", "--kernel", "absent")

    def test_says_when_the_source_does_not_compile(self):
        with self.assertRaisesRegex(RuntimeError, "nvcc.*kernel.cu"):
            check("not C++")


class PtxTextTest(unittest.TestCase):
    TEXT = """
.visible .entry kernel(.param .u64 p)
{ // add.f64 in a comment
 fma.rn.f64 %fd1, %fd2, %fd3, %fd4;
 @%p1 sub.rn.f64 %fd1, %fd2, %fd3;
 $L_1: mul.rn.f64 %fd1, %fd2, %fd3;
 call.uni (retval0), helper, (param0);
 call.uni helper, (param0);
}
.func (.param .b64 r) helper(.param .b64 q)
{ add.rn.f64 %fd1, %fd2, %fd3; add.ftz.rn.f32 %f1, %f2, %f3; }
.func unused()
{ add.rn.f64 %fd1, %fd2, %fd3; }
"""

    def test_counts_what_a_kernel_reaches_once(self):
        self.assertEqual(ptx_text.fp64_counts(self.TEXT), {"kernel": {"DFMA": 1, "DADD": 2, "DMUL": 1}})

    def test_finds_what_leaves_its_rounding_open(self):
        self.assertEqual(ptx_text.open_roundings(self.TEXT), ["helper: add.ftz.rn.f32"])
        for bad in ("add.f64", "fma.f32", "sqrt.approx.f32", "div.full.f32", "rcp.rz.f64", "mul.rn.ftz.f32", "cvt.sat.f32.f64"):
            self.assertEqual(len(ptx_text.open_roundings(f".entry k() {{ {bad} %a, %b, %c; }}")), 1, bad)
        for good in ("add.s32", "mul.wide.u32", "mad.lo.s64", "add.rn.f64", "cvt.rn.f32.f64", "neg.f64", "ld.global.nc.f64"):
            self.assertEqual(ptx_text.open_roundings(f".entry k() {{ {good} %a, %b, %c; }}"), [], good)


if __name__ == "__main__":
    if not static_check.find_nvcc():
        print("skipped: no nvcc")
        sys.exit(77)
    unittest.main()
