#!/usr/bin/python3
"""Makes server/numerics/kl_coefficients.h and prints it: Chebyshev interpolation in 60 digits, rounded to
binary64. On stderr, the errors of the polynomials.

The header's bits are what counts, because numerics version 1 is frozen; this script says where they come from,
and a test says that they do. Needs mpmath.

usage: make_coefficients.py [--check HEADER]
"""
import argparse
import struct
import sys

try:
    from mpmath import cos, expm1, floor, log, log1p, lu_solve, matrix, mp, mpf, pi
except ImportError:
    print("needs python3-mpmath", file=sys.stderr)
    sys.exit(77)

mp.dps = 60

# The mantissas' lower end, 0.6458: 1.0 then lies inside an interval, where LN is exactly 0.
LN_SPLIT_BITS = 0x3FE4AAAA00000000
# Interval i is centred near 32 / LN_NUMERATORS[i], whose inverse has few bits: r = m * inverse - 1 is exact.
LN_NUMERATORS = [47, 43, 40, 37, 34, 32, 29, 26]


def from_bits(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def to_bits(value):
    return struct.unpack("<Q", struct.pack("<d", float(value)))[0]


def interpolate(f, low, high, degree, without_middle=False):
    """Monomial coefficients of the polynomial through the Chebyshev nodes of [low, high].

    without_middle: one node more, and the one in the middle left out, which is best where the error is
    multiplied by x.
    """
    nodes = degree + 1 + without_middle
    points = [
        (low + high) / 2 + (high - low) / 2 * cos((2 * i + 1) * pi / (2 * nodes))
        for i in range(nodes)
        if not (without_middle and 2 * i + 1 == nodes)
    ]
    size = degree + 1
    powers, values = matrix(size, size), matrix(size, 1)
    for i, x in enumerate(points):
        values[i] = f(x)
        for j in range(size):
            powers[i, j] = x**j
    return [float(c) for c in lu_solve(powers, values)]


def report(name, coefficients, f, weight, low, high, steps=2001):
    worst = mpf(0)
    for i in range(steps):
        x = low + (high - low) * i / (steps - 1)
        value = mpf(0)
        for c in reversed(coefficients):
            value = value * x + mpf(c)
        worst = max(worst, abs((value - f(x)) * weight(x)))
    print(f"{name}: degree {len(coefficients) - 1}, error 2^{float(log(worst, 2)):.1f}", file=sys.stderr)


def polynomials():
    """Name, meaning and coefficients of each polynomial."""
    start = lambda i: from_bits(LN_SPLIT_BITS + (i << 49))
    ends = [start(i + j) * LN_NUMERATORS[i] / 32 - 1 for i in range(8) for j in (0, 1)]
    low, high = mpf(min(ends)), mpf(max(ends))
    tiny = mpf(10) ** -15
    ln = lambda r: (log1p(r) - r) / (r * r) if abs(r) > tiny else -mpf(1) / 2 + r / 3
    exp = lambda r: (expm1(r) - r) / (r * r) if abs(r) > tiny else mpf(1) / 2 + r / 6
    exp2 = lambda f: (mpf(2) ** f - 1) / f if f else log(2)
    wider = 1 + mpf(2) ** -20  # k comes from a rounded product, so r can lie a little outside
    half_ln2, sixteenth = log(2) / 2 * wider, mpf(1) / 16 * wider

    result = []

    def add(name, meaning, f, weight, low, high, degree, without_middle=False):
        coefficients = interpolate(f, low, high, degree, without_middle)
        report(name, coefficients, f, weight, low, high)
        result.append((name, meaning, coefficients))

    add("kLn32", "(ln(1 + r) - r) / r^2", ln, lambda r: r, low, high, 7)
    add("kLn64", "(ln(1 + r) - r) / r^2", ln, lambda r: r, low, high, 9)
    add("kExp32", "(2^f - 1) / f for |f| <= 1/16", exp2, lambda f: f, -sixteenth, sixteenth, 5, True)
    add("kExp64", "(e^r - 1 - r) / r^2 for |r| <= ln(2)/2", exp, lambda r: r * r, -half_ln2, half_ln2, 10)
    return result


HEAD = """\
#ifndef KLDIV_SERVER_NUMERICS_KL_COEFFICIENTS_H_
#define KLDIV_SERVER_NUMERICS_KL_COEFFICIENTS_H_

#include <cstdint>

// The constants of LN and EXP, made by tests/numerics/make_coefficients.py.
//
// KLDIV_COEFFICIENT_TABLE: how a table is declared. Defined before inclusion where that is different, as in
// CUDA's constant memory.
#ifndef KLDIV_COEFFICIENT_TABLE
#define KLDIV_COEFFICIENT_TABLE inline constexpr
#endif

// clang-format off
namespace kldiv::numerics {
"""
TAIL = """
}  // namespace kldiv::numerics
// clang-format on

#endif  // KLDIV_SERVER_NUMERICS_KL_COEFFICIENTS_H_
"""


def table(name, values, of_type="double", per_line=4):
    lines = [", ".join(values[i : i + per_line]) for i in range(0, len(values), per_line)]
    head = f"KLDIV_COEFFICIENT_TABLE {of_type} {name}[{len(values)}] = {{"
    return head + "\n    " + ",\n    ".join(lines) + "};\n"


def hexadecimal(values):
    return [float(v).hex() for v in values]


def header():
    # 42 fraction bits, so that products with exponents and sums with r are exact.
    upper = lambda v: floor(v * mpf(2) ** 42 + mpf(1) / 2) / mpf(2) ** 42
    ln2 = log(2)
    logs = [-log(mpf(n) / 32) for n in LN_NUMERATORS]
    exp2 = [float(mpf(2) ** (mpf(j) / 8)) for j in range(8)]
    # What EXP32 adds to a word that holds 8 n + j above bit 49: exponents come from n, mantissas from j.
    offsets = [(to_bits(v) - (1023 << 52) - (j << 49)) % 2**64 for j, v in enumerate(exp2)]

    text = HEAD
    text += "\n// LN splits t into 2^k m, m from this number (its bits) to twice it, in eight intervals.\n"
    text += f"inline constexpr uint64_t kLnSplitBits = 0x{LN_SPLIT_BITS:x}u;\n"
    text += "\n// ln 2, and as a sum of which the first part has trailing zeros; 1 / ln 2.\n"
    for name, value in (("kLn2", ln2), ("kLn2High", upper(ln2)), ("kLn2Low", ln2 - upper(ln2)), ("kLog2E", 1 / ln2)):
        text += f"inline constexpr double {name} = {float(value).hex()};\n"
    text += "\n// For each interval of m an approximate inverse, its -ln, and that as a sum.\n"
    text += table("kLnInverse", hexadecimal(mpf(n) / 32 for n in LN_NUMERATORS))
    text += table("kLnLog", hexadecimal(logs))
    text += table("kLnLogHigh", hexadecimal(upper(v) for v in logs))
    text += table("kLnLogLow", hexadecimal(v - upper(v) for v in logs))
    for name, meaning, coefficients in polynomials():
        text += f"\n// {meaning}\n" + table(name, hexadecimal(coefficients))
    text += "\n// 2^(j/8), and its bits less those of 1 and less j << 49\n"
    text += table("kExp2", hexadecimal(exp2))
    text += table("kExp2Offset", [f"0x{v:016x}u" for v in offsets], "uint64_t")
    return text + TAIL


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", metavar="HEADER", help="compare with this file instead of printing")
    check = parser.parse_args().check
    text = header()
    if check is None:
        print(text, end="")
    elif open(check).read() != text:
        sys.exit(f"{check} is not what this script makes")


main()
