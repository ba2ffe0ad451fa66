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

// LN splits t into 2^k m, m from this number (its bits) to twice it, in eight intervals.
inline constexpr uint64_t kLnSplitBits = 0x3fe4aaaa00000000u;

// ln 2, and as a sum of which the first part has trailing zeros; 1 / ln 2.
inline constexpr double kLn2 = 0x1.62e42fefa39efp-1;
inline constexpr double kLn2High = 0x1.62e42fefa3800p-1;
inline constexpr double kLn2Low = 0x1.ef35793c76730p-45;
inline constexpr double kLog2E = 0x1.71547652b82fep+0;

// For each interval of m an approximate inverse, its -ln, and that as a sum.
KLDIV_COEFFICIENT_TABLE double kLnInverse[8] = {
    0x1.7800000000000p+0, 0x1.5800000000000p+0, 0x1.4000000000000p+0, 0x1.2800000000000p+0,
    0x1.1000000000000p+0, 0x1.0000000000000p+0, 0x1.d000000000000p-1, 0x1.a000000000000p-1};
KLDIV_COEFFICIENT_TABLE double kLnLog[8] = {
    -0x1.89a3386c1425bp-2, -0x1.2e8e2bae11d31p-2, -0x1.c8ff7c79a9a22p-3, -0x1.29552f81ff523p-3,
    -0x1.f0a30c01162a6p-5, 0x0.0p+0, 0x1.9335e5d594989p-4, 0x1.a93ed3c8ad9e3p-3};
KLDIV_COEFFICIENT_TABLE double kLnLogHigh[8] = {
    -0x1.89a3386c14000p-2, -0x1.2e8e2bae12000p-2, -0x1.c8ff7c79aa000p-3, -0x1.29552f8200000p-3,
    -0x1.f0a30c0118000p-5, 0x0.0p+0, 0x1.9335e5d594000p-4, 0x1.a93ed3c8ae000p-3};
KLDIV_COEFFICIENT_TABLE double kLnLogLow[8] = {
    -0x1.2d5ad38c40882p-45, 0x1.67b1e99b72bd8p-45, 0x1.7794f689f8434p-45, 0x1.5b967f4471dfcp-44,
    0x1.d599e83368e91p-45, 0x0.0p+0, 0x1.3115c3abd47dap-45, -0x1.8724350562169p-45};

// (ln(1 + r) - r) / r^2
KLDIV_COEFFICIENT_TABLE double kLn32[8] = {
    -0x1.ffffffffffa33p-2, 0x1.5555555559b93p-2, -0x1.0000000e26608p-2, 0x1.999999405d072p-3,
    -0x1.5554a8c8059a7p-3, 0x1.2492fc5f1fd5ap-3, -0x1.01509e30aa3cep-3, 0x1.c75e84d84fd94p-4};

// (ln(1 + r) - r) / r^2
KLDIV_COEFFICIENT_TABLE double kLn64[10] = {
    -0x1.0000000000000p-1, 0x1.5555555555542p-2, -0x1.fffffffff8733p-3, 0x1.99999999c3c7ep-3,
    -0x1.5555559f00e16p-3, 0x1.2492486d1ddaep-3, -0x1.fffe08baa1c56p-4, 0x1.c71e46e34dd01p-4,
    -0x1.9c570f81cbbb2p-4, 0x1.74abbd5dbee1ep-4};

// (2^f - 1) / f for |f| <= 1/16
KLDIV_COEFFICIENT_TABLE double kExp32[6] = {
    0x1.62e42fefa3d6fp-1, 0x1.ebfbdff82c6c5p-3, 0x1.c6b08d544c8f8p-5, 0x1.3b2ab6f1f18e9p-7,
    0x1.5d8efdd26aae3p-10, 0x1.430deca1c88e6p-13};

// (e^r - 1 - r) / r^2 for |r| <= ln(2)/2
KLDIV_COEFFICIENT_TABLE double kExp64[11] = {
    0x1.0000000000000p-1, 0x1.5555555555557p-3, 0x1.5555555555556p-5, 0x1.11111111100dfp-7,
    0x1.6c16c16c162d6p-10, 0x1.a01a01abe6323p-13, 0x1.a01a01a6d7831p-16, 0x1.71de0237484cdp-19,
    0x1.27e4db67ac2b0p-22, 0x1.af4ddda1c08cdp-26, 0x1.1f72fc83bcbc7p-29};

// 2^(j/8), and its bits less those of 1 and less j << 49
KLDIV_COEFFICIENT_TABLE double kExp2[8] = {
    0x1.0000000000000p+0, 0x1.172b83c7d517bp+0, 0x1.306fe0a31b715p+0, 0x1.4bfdad5362a27p+0,
    0x1.6a09e667f3bcdp+0, 0x1.8ace5422aa0dbp+0, 0x1.ae89f995ad3adp+0, 0x1.d5818dcfba487p+0};
KLDIV_COEFFICIENT_TABLE uint64_t kExp2Offset[8] = {
    0x0000000000000000u, 0xffff72b83c7d517bu, 0xffff06fe0a31b715u, 0xfffebfdad5362a27u,
    0xfffea09e667f3bcdu, 0xfffeace5422aa0dbu, 0xfffee89f995ad3adu, 0xffff5818dcfba487u};

}  // namespace kldiv::numerics
// clang-format on

#endif  // KLDIV_SERVER_NUMERICS_KL_COEFFICIENTS_H_
